//! At most so many of one kind of question are under way for one address (T14): token look-ups, so that guessing from one
//! place leaves the database to the others, and comparisons of passwords. The table holds an address only while it is
//! asking.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds the questions of one address. IPv6 addresses of one /64 count as one.
pub struct Limiter {
    table: Arc<Mutex<HashMap<IpAddr, Waiting>>>,
    at_once: u32,
}

struct Waiting {
    semaphore: Arc<Semaphore>,
    /// Holders and waiters.
    count: usize,
}

/// A place among the questions of one address, until it is dropped.
pub struct Permit {
    table: Arc<Mutex<HashMap<IpAddr, Waiting>>>,
    address: IpAddr,
    permit: Option<OwnedSemaphorePermit>,
}

impl Limiter {
    /// `at_once`: how many permits one address may hold.
    pub fn new(at_once: u32) -> Self {
        Self { table: Arc::default(), at_once }
    }

    /// Waits for a place.
    pub async fn permit(&self, peer: Option<IpAddr>) -> Option<Permit> {
        self.take(peer?, 1).await
    }

    /// Waits until nothing else of this address is under way, and keeps others from beginning.
    pub async fn permit_alone(&self, peer: Option<IpAddr>) -> Option<Permit> {
        self.take(peer?, self.at_once).await
    }

    /// How many of this address are under way or wait.
    pub fn asking(&self, peer: Option<IpAddr>) -> usize {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        peer.and_then(|peer| table.get(&network(peer))).map_or(0, |waiting| waiting.count)
    }

    async fn take(&self, peer: IpAddr, places: u32) -> Option<Permit> {
        let address = network(peer);
        let semaphore = {
            let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Waiting { semaphore: Arc::new(Semaphore::new(self.at_once as usize)), count: 0 };
            let waiting = table.entry(address).or_insert_with(new);
            waiting.count += 1;
            waiting.semaphore.clone()
        };
        // Made before waiting, so that a request that goes away while it waits is counted out too.
        let mut pass = Permit { table: self.table.clone(), address, permit: None };
        pass.permit = semaphore.acquire_many_owned(places).await.ok();
        Some(pass)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permit.take();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = table.get_mut(&self.address) {
            waiting.count -= 1;
            if waiting.count == 0 {
                table.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: one IPv6 customer has a whole /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// What one site gets from its provider: an IPv4 address, or an IPv6 /48.
pub fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80)),
        v4 => v4,
    }
}

/// How much more a /48 may have than a /64.
pub const QUARTERS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn t14_one_address_has_at_most_eight_look_ups_under_way_and_the_table_empties() {
        let limiter = Limiter::new(8);
        let here: IpAddr = "2001:db8::1".parse().expect("an address");
        let neighbour: IpAddr = "2001:db8::2".parse().expect("an address");
        let mut held = Vec::new();
        for i in 0..8 {
            held.push(limiter.permit(Some(if i % 2 == 0 { here } else { neighbour })).await);
        }
        let ninth = tokio::time::timeout(std::time::Duration::from_millis(20), limiter.permit(Some(here))).await;
        assert!(ninth.is_err(), "the ninth waits");
        let elsewhere = limiter.permit("192.0.2.1".parse().ok()).await;
        assert!(elsewhere.is_some());
        drop(elsewhere);
        held.pop();
        assert!(limiter.permit(Some(here)).await.is_some());
        held.clear();
        assert!(limiter.table.lock().expect("no panic").is_empty());
    }

    #[tokio::test]
    async fn t14_who_waits_to_be_alone_is_alone() {
        let limiter = Limiter::new(4);
        let here = "192.0.2.1".parse().ok();
        let first = limiter.permit(here).await;
        let soon = std::time::Duration::from_millis(20);
        let mut alone = Box::pin(limiter.permit_alone(here));
        assert!(tokio::time::timeout(soon, &mut alone).await.is_err(), "another is under way");
        drop(first);
        let alone = alone.await;
        assert!(tokio::time::timeout(soon, limiter.permit(here)).await.is_err(), "others wait");
        drop(alone);
        assert!(limiter.permit(here).await.is_some());
    }

    #[tokio::test]
    async fn holders_and_waiters_of_an_address_are_counted() {
        let limiter = Limiter::new(1);
        let (here, elsewhere) = ("192.0.2.1".parse().ok(), "192.0.2.2".parse().ok());
        let asking = || [here, elsewhere, None].map(|peer| limiter.asking(peer));
        assert_eq!(asking(), [0, 0, 0]);
        let held = limiter.permit(here).await;
        let soon = std::time::Duration::from_millis(1);
        {
            let mut waiting = [Box::pin(limiter.permit(here)), Box::pin(limiter.permit(here))];
            for waiting in &mut waiting {
                assert!(tokio::time::timeout(soon, waiting).await.is_err());
            }
            assert_eq!(asking(), [3, 0, 0]);
        }
        assert_eq!(asking(), [1, 0, 0], "those who went away are counted out");
        drop(held);
        assert_eq!(asking(), [0, 0, 0]);
        assert!(limiter.permit(None).await.is_none() && limiter.permit_alone(None).await.is_none());
    }

    #[test]
    fn t14_addresses_that_count_as_one() {
        for (address, of_network, of_site) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1::"),
            ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8:ffff:ffff::", "2001:db8:ffff::"),
        ] {
            let parsed = |text: &str| text.parse::<IpAddr>().expect("an address");
            let expected = (parsed(of_network), parsed(of_site));
            assert_eq!((network(parsed(address)), site(parsed(address))), expected, "{address}");
        }
    }
}
