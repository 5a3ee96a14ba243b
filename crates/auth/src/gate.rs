//! At most so many token look-ups of one address are under way (T14), so that guessing from one place leaves the
//! database to the others. The table holds an address only while it is asking.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Default)]
pub(crate) struct Gate(Arc<Mutex<HashMap<IpAddr, Waiting>>>);

struct Waiting {
    semaphore: Arc<Semaphore>,
    /// Holders and waiters.
    count: usize,
}

/// A place among the look-ups of one address, until it is dropped.
pub struct Pass {
    table: Arc<Mutex<HashMap<IpAddr, Waiting>>>,
    address: IpAddr,
    permit: Option<OwnedSemaphorePermit>,
}

impl Gate {
    /// Waits for a place.
    pub(crate) async fn pass(&self, peer: Option<IpAddr>) -> Option<Pass> {
        let address = network(peer?);
        let semaphore = {
            let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let waiting = table
                .entry(address)
                .or_insert_with(|| Waiting { semaphore: Arc::new(Semaphore::new(AT_ONCE)), count: 0 });
            waiting.count += 1;
            waiting.semaphore.clone()
        };
        // Made before waiting, so that a request that goes away while it waits is counted out too.
        let mut pass = Pass { table: self.0.clone(), address, permit: None };
        pass.permit = semaphore.acquire_owned().await.ok();
        Some(pass)
    }
}

impl Drop for Pass {
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

const AT_ONCE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn t14_one_address_has_at_most_eight_look_ups_under_way_and_the_table_empties() {
        let gate = Gate::default();
        let here: IpAddr = "2001:db8::1".parse().expect("an address");
        let neighbour: IpAddr = "2001:db8::2".parse().expect("an address");
        let mut held = Vec::new();
        for i in 0..AT_ONCE {
            held.push(gate.pass(Some(if i % 2 == 0 { here } else { neighbour })).await);
        }
        let ninth = tokio::time::timeout(std::time::Duration::from_millis(20), gate.pass(Some(here))).await;
        assert!(ninth.is_err(), "the ninth waits");
        let elsewhere = gate.pass("192.0.2.1".parse().ok()).await;
        assert!(elsewhere.is_some());
        drop(elsewhere);
        held.pop();
        assert!(gate.pass(Some(here)).await.is_some());
        held.clear();
        assert!(gate.0.lock().expect("no panic").is_empty());
    }
}
