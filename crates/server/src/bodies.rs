//! The bodies of requests: how each is read, how much of all of them is in memory at once (T14), and what becomes of one
//! that is refused before it was read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, Request, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tollhouse_auth::limiter::{QUARTERS, network, site};

use crate::error::Error;
use crate::request::has_body;

/// What a request may send without a live credential, in bytes. Also what is still read after an early refusal.
pub const SMALL: usize = 64 << 10;

/// How large one body may be, in bytes, how long reading it may take, and what all of them share.
#[derive(Clone, Copy)]
pub struct Limits<'b> {
    /// Bytes that the body may have; beyond: 413.
    pub body: usize,
    /// How long reading the whole body may take; beyond: 408.
    pub time: Duration,
    /// What all bodies under way share; a body that does not fit: 503.
    pub budget: &'b Budget,
    /// Whether the head shows a live credential.
    pub live: bool,
}

/// The memory that all bodies under way have between them.
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

struct Shared {
    most: usize,
    most_of_one: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    all: usize,
    /// Addresses and sites. Each stands here only while a body of it is in memory.
    of_one: HashMap<IpAddr, usize>,
    of_site: HashMap<IpAddr, usize>,
}

/// What one body takes from the budget, until it is dropped.
pub struct Reserved {
    budget: Budget,
    address: IpAddr,
    site: IpAddr,
    /// How much there may be with it, in all.
    most: usize,
    bytes: usize,
}

impl Budget {
    /// Both in bytes: over all bodies, and over those of one address (IPv6: one /64; a /48 has four times as much). A quarter of
    /// it is kept for requests with a live credential.
    pub fn new(most: u64, most_of_one: u64) -> Self {
        let bytes = |size| usize::try_from(size).unwrap_or(usize::MAX);
        Self(Arc::new(Shared { most: bytes(most), most_of_one: bytes(most_of_one), held: Mutex::default() }))
    }

    /// Bytes that are held now.
    pub fn held(&self) -> usize {
        self.lock().all
    }

    fn reserve(&self, address: Option<IpAddr>, live: bool) -> Reserved {
        let address = address.unwrap_or(NOWHERE);
        let most = if live { self.0.most } else { self.0.most - self.0.most / 4 };
        Reserved { budget: self.clone(), address: network(address), site: site(address), most, bytes: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved {
    /// Takes as much as a buffer of so many bytes needs, or nothing more than before.
    fn grow(&mut self, to: usize) -> Result<(), Error> {
        let more = to.saturating_sub(self.bytes);
        let most_of_one = self.budget.0.most_of_one;
        let mut held = self.budget.lock();
        let of = |table: &HashMap<IpAddr, usize>, key| table.get(key).copied().unwrap_or_default();
        let (mine, ours) = (of(&held.of_one, &self.address), of(&held.of_site, &self.site));
        if more > self.most.saturating_sub(held.all)
            || more > most_of_one.saturating_sub(mine)
            || more > most_of_one.saturating_mul(QUARTERS).saturating_sub(ours)
        {
            return Err(Error::BodiesFull);
        }
        held.all += more;
        held.of_one.insert(self.address, mine + more);
        held.of_site.insert(self.site, ours + more);
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut held = self.budget.lock();
        let Held { all, of_one, of_site } = &mut *held;
        *all -= self.bytes;
        for (table, key) in [(of_one, self.address), (of_site, self.site)] {
            if let Entry::Occupied(mut mine) = table.entry(key) {
                *mine.get_mut() -= self.bytes;
                if *mine.get() == 0 {
                    mine.remove();
                }
            }
        }
    }
}

/// The whole of a body, and what it took from the budget.
pub async fn collect(mut body: Body, peer: Option<IpAddr>, limits: Limits<'_>) -> Result<(Bytes, Reserved), Error> {
    if HttpBody::size_hint(&body).lower() > limits.body as u64 {
        return Err(Error::BodyTooLarge);
    }
    let mut reserved = limits.budget.reserve(peer, limits.live);
    let whole = async {
        // Copied together: a piece of a byte would keep the whole buffer alive that it was read into.
        let mut whole = Vec::new();
        while let Some(data) = next(&mut body).await? {
            let length = whole.len() + data.len();
            if length > limits.body {
                return Err(Error::BodyTooLarge);
            }
            if length > whole.capacity() {
                let room = length.max((2 * whole.capacity()).min(limits.body));
                reserved.grow(room)?;
                whole.reserve_exact(room - whole.len());
            }
            whole.extend_from_slice(&data);
        }
        Ok(Bytes::from(whole))
    };
    let whole = timeout(limits.time, whole).await.unwrap_or(Err(Error::BodyTooSlow))?;
    Ok((whole, reserved))
}

/// The first piece of a body that has anything in it.
pub async fn first(body: &mut Body, time: Duration) -> Result<Option<Bytes>, Error> {
    timeout(time, next(body)).await.unwrap_or(Err(Error::BodyTooSlow))
}

async fn next(body: &mut Body) -> Result<Option<Bytes>, Error> {
    while let Some(frame) = body.frame().await {
        // If the client broke off, the answer goes nowhere.
        let frame = frame.map_err(|_| Error::BadRequest(None))?;
        if let Ok(data) = frame.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Reads on after an answer that came before the body was read, so that a client which sends its whole request first sees
/// that answer. Closing a connection with unread data resets it, and the client may lose the answer.
pub fn read_on(request: Request<Body>) -> Request<Body> {
    if !has_body(request.headers()) {
        return request;
    }
    let waits = expects_to_be_asked(request.headers());
    request.map(|body| Body::new(ReadOn { body: Some(body), waits }))
}

/// A client that asked first has sent nothing yet (RFC 9110 section 10.1.1).
fn expects_to_be_asked(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

struct ReadOn {
    /// `None`: there is no more of it.
    body: Option<Body>,
    waits: bool,
}

impl HttpBody for ReadOn {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.waits = false;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for ReadOn {
    fn drop(&mut self) {
        if self.waits || HttpBody::is_end_stream(self) {
            return;
        }
        if let (Some(body), Ok(here)) = (self.body.take(), Handle::try_current()) {
            here.spawn(timeout(LINGER, discard(body)));
        }
    }
}

async fn discard(mut body: Body) {
    let mut left = SMALL;
    while left > 0 {
        let Ok(Some(data)) = next(&mut body).await else { return };
        left = left.saturating_sub(data.len());
    }
}

/// The address of a body that came from none.
const NOWHERE: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
/// How long is read after an early refusal.
const LINGER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn t14_one_address_has_its_part_of_the_budget_and_all_of_it_comes_back() {
        let budget = Budget::new(100, 40);
        let take = |from: &str, bytes: usize| {
            let mut reserved = budget.reserve(address(from), true);
            reserved.grow(bytes).map(|()| reserved)
        };
        let mut held = vec![take("192.0.2.1", 30).expect("room")];
        assert!(take("192.0.2.1", 11).is_err(), "40 of one address");
        held.push(take("192.0.2.1", 10).expect("room"));
        held.push(take("2001:db8::1", 40).expect("room"));
        assert!(take("2001:db8::2", 1).is_err(), "a /64 is one address");
        held.push(take("2001:db8:0:1::1", 20).expect("room"));
        assert!(take("192.0.2.3", 1).is_err(), "100 in all");
        assert_eq!(budget.held(), 100);
        // What is refused keeps what it had.
        assert!(held[3].grow(21).is_err());
        assert_eq!(budget.held(), 100);
        held[3].grow(5).expect("no more than before");
        held.clear();
        assert!(budget.held() == 0 && budget.lock().of_one.is_empty() && budget.lock().of_site.is_empty());
    }

    #[test]
    fn t14_a_site_has_its_part_too_and_a_quarter_is_kept_for_live_credentials() {
        let budget = Budget::new(100, 10);
        let take = |from: &str, live: bool| {
            let mut reserved = budget.reserve(address(from), live);
            reserved.grow(10).map(|()| reserved)
        };
        let mut held: Vec<_> = (0..4).map(|i| take(&format!("2001:db8:1:{i}::1"), true).expect("room")).collect();
        assert!(take("2001:db8:1:4::1", true).is_err(), "a /48 has four times as much as a /64");
        held.extend((0..3).map(|i| take(&format!("192.0.2.{i}"), false).expect("room")));
        assert!(take("192.0.2.9", false).is_err(), "more than three quarters");
        held.extend((3..6).map(|i| take(&format!("192.0.2.{i}"), true).expect("room")));
        assert!(take("192.0.2.9", true).is_err(), "100 in all");
    }

    fn pieces(count: usize, size: usize) -> Body {
        let piece = move |_| Ok::<_, std::convert::Infallible>(Bytes::from(vec![b'x'; size]));
        Body::from_stream(futures_util::stream::iter((0..count).map(piece)))
    }

    #[tokio::test]
    async fn t14_what_is_counted_is_what_the_buffer_takes() {
        let budget = Budget::new(1000, 1000);
        let limits = Limits { body: 700, time: Duration::from_secs(1), budget: &budget, live: true };
        for (count, size, read) in [(0, 0, Ok(0)), (3, 200, Ok(600)), (700, 1, Ok(700)), (8, 100, Err(()))] {
            let whole = collect(pieces(count, size), None, limits).await;
            assert_eq!(whole.as_ref().map(|(bytes, _)| bytes.len()).map_err(drop), read, "{count} times {size}");
            if let Ok((bytes, reserved)) = whole {
                assert!(reserved.bytes >= bytes.len() && reserved.bytes <= limits.body, "{}", reserved.bytes);
            }
            assert_eq!(budget.held(), 0);
        }
        let first = collect(pieces(3, 200), None, limits).await.expect("room");
        let second = collect(pieces(3, 200), None, limits).await;
        assert_eq!(second.err(), Some(Error::BodiesFull));
        drop(first);
        // A body that ends in the middle, or that does not come, leaves nothing behind.
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::convert::Infallible>>());
        let limits = Limits { time: Duration::from_millis(10), ..limits };
        assert_eq!(collect(never, None, limits).await.err(), Some(Error::BodyTooSlow));
        assert_eq!(budget.held(), 0);
    }
}
