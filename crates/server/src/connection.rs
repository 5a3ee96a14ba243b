//! One connection: who reads no answer or sends no request does not keep a place for ever, and no address has them all.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tollhouse_auth::limiter::network;

/// A socket that breaks off when the other side takes nothing for half a minute.
pub struct Patient {
    socket: TcpStream,
    pace: Arc<Pace>,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    /// `pace` learns when some of an answer was taken.
    pub fn new(socket: TcpStream, pace: Arc<Pace>) -> Self {
        Self { socket, pace, waiting: None }
    }

    fn written(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(1..)) = written {
            self.pace.taken();
        }
        self.progress(context, written)
    }

    fn progress<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, into)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.progress(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.progress(cx, shut)
    }
}

/// Since when the other side owes the head of a request. One timer runs as long as the connection lasts; one for every
/// request, as hyper sets them, would cost as much as judging it.
pub struct Pace {
    began: Instant,
    /// In milliseconds since then; [`NOTHING`] while a request is answered.
    owed: AtomicU64,
}

impl Pace {
    /// From now on the head of a request is owed.
    pub fn begin() -> Self {
        Self { began: Instant::now(), owed: AtomicU64::new(0) }
    }

    /// While the request is answered nothing is owed.
    pub fn head_came(&self) {
        self.owed.store(NOTHING, Ordering::Relaxed);
    }

    /// From `now` on the next head is owed.
    pub fn answered(&self, now: Instant) {
        self.owed.store(now.duration_since(self.began).as_millis() as u64, Ordering::Relaxed);
    }

    /// Some of the answer: whoever still reads owes nothing yet.
    fn taken(&self) {
        if self.owed.load(Ordering::Relaxed) != NOTHING {
            self.answered(Instant::now());
        }
    }

    /// Returns when a head has been owed for so long.
    pub async fn overdue(&self, most: Duration) {
        loop {
            let left = match self.owed.load(Ordering::Relaxed) {
                NOTHING => most,
                owed => (Duration::from_millis(owed) + most).saturating_sub(self.began.elapsed()),
            };
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }
}

const NOTHING: u64 = u64::MAX;

/// How many connections each address has. An address stands here only while it has one.
#[derive(Clone)]
pub struct Addresses {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

/// One connection of one address.
pub struct Among {
    addresses: Addresses,
    address: IpAddr,
}

impl Addresses {
    /// `most`: connections of one address, or of one IPv6 network ([`network`]).
    pub fn new(most: usize) -> Self {
        Self { counts: Arc::default(), most }
    }

    /// `None`: it has too many already.
    pub fn enter(&self, address: IpAddr) -> Option<Among> {
        let address = network(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Among { addresses: self.clone(), address })
    }
}

impl Drop for Among {
    fn drop(&mut self) {
        let mut counts = self.addresses.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_has_all_connections() {
        let addresses = Addresses::new(2);
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let held = [addresses.enter(a), addresses.enter(a)];
        assert!(held.iter().all(Option::is_some) && addresses.enter(a).is_none());
        assert!(addresses.enter(b).is_some());
        drop(held);
        assert!(addresses.enter(a).is_some());
        assert!(addresses.counts.lock().expect("no panic").is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_nothing_is_left() {
        const MOST: Duration = Duration::from_secs(10);
        let pace = Pace::begin();
        let began = Instant::now();
        // Four requests, each with a second of silence before it; the answers take as long as they like.
        let spoken = async {
            for takes in [1, 30, 0, 12] {
                sleep(Duration::from_secs(1)).await;
                pace.head_came();
                sleep(Duration::from_secs(takes)).await;
                pace.answered(Instant::now());
            }
            // The last answer is long, and read slowly.
            for _ in 0..2 {
                sleep(Duration::from_secs(8)).await;
                pace.taken();
            }
        };
        let ((), ()) = tokio::join!(spoken, pace.overdue(MOST));
        let silent = began.elapsed() - Duration::from_secs(4 + 43 + 16);
        assert!(silent >= MOST && silent < MOST + Duration::from_millis(10), "{silent:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_left() {
        use tokio::io::AsyncWriteExt;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let silent = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        let mut patient = Patient::new(listener.accept().await.expect("a connection").0, Arc::new(Pace::begin()));
        let much = vec![0; 1 << 20];
        let began = tokio::time::Instant::now();
        let error = loop {
            if let Err(error) = patient.write_all(&much).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= PATIENCE);
        drop(silent);
    }
}
