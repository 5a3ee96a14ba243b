//! Asks beside wrk, and looks at every answer: is it the right person, and is it no older than what was acknowledged
//! before the question was sent?

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{CHANGED, Pipe};

pub(crate) struct Person {
    pub username: String,
    pub user: String,
    pub token_id: String,
    pub token: String,
    /// How far the change that happens to this person is.
    change: AtomicU8,
}

const NOT_YET: u8 = 0;
const SENT: u8 = 1;
const ACKNOWLEDGED: u8 = 2;

impl Person {
    pub(crate) fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ').map(str::to_owned);
        let (username, user, token_id, token) = (words.next()?, words.next()?, words.next()?, words.next()?);
        Some(Self { username, user, token_id, token, change: AtomicU8::new(NOT_YET) })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Profile,
    Revocation,
}

pub(crate) struct Town {
    pub people: Vec<Person>,
    /// Whom something happens to, in this order.
    pub changes: Vec<(usize, Change)>,
    /// How many of the changes were sent.
    pub sent: AtomicUsize,
    /// What the bare servers send.
    pub canned: Vec<u8>,
    pub checked: AtomicU64,
    pub wrong: AtomicU64,
}

pub(crate) struct Answer {
    pub raw: Vec<u8>,
    pub body: usize,
}

/// One keep-alive connection, and another one when the server gives it away.
pub(crate) struct Line {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Line {
    pub(crate) fn to(address: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { address, stream: BufReader::new(socket) })
    }

    pub(crate) fn ask(&mut self, token: &str) -> Result<Answer> {
        self.send(format!("GET /api/v4/user HTTP/1.1\r\nHost: bench\r\nPRIVATE-TOKEN: {token}\r\n\r\n").as_bytes())
    }

    pub(crate) fn send(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.get_mut().write_all(request)?;
        let (mut raw, mut length, mut last) = (Vec::new(), None, false);
        loop {
            let began = raw.len();
            ensure!(self.stream.read_until(b'\n', &mut raw)? > 0, "the server closed the connection");
            match std::str::from_utf8(&raw[began..])?.trim_end() {
                "" => break,
                "connection: close" => last = true,
                line => length = line.strip_prefix("content-length: ").map(str::parse::<usize>).transpose()?.or(length),
            }
        }
        let body = raw.len();
        raw.resize(body + length.context("an answer without content-length")?, 0);
        self.stream.read_exact(&mut raw[body..])?;
        if last {
            *self = Self::to(self.address)?;
        }
        Ok(Answer { raw, body })
    }
}

impl Town {
    /// Asks at a steady pace until it is over. Half of the questions are about the last few people that something
    /// happened to, or the next ones, for there an answer can be stale.
    pub(crate) fn keep_asking(&self, address: SocketAddr, bare: bool, mut dice: Dice, over: &AtomicBool) -> Result<()> {
        let mut line = Line::to(address)?;
        while !over.load(SeqCst) {
            let near = (self.sent.load(SeqCst) + dice.below(6)).saturating_sub(3);
            let who = match self.changes.get(near) {
                Some((who, _)) if dice.below(2) == 0 => *who,
                _ => dice.below(self.people.len()),
            };
            self.check(&mut line, who, bare)?;
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Makes these changes at even distances, and asks at once when one was acknowledged.
    pub(crate) fn change(&self, pipe: &mut Pipe, address: SocketAddr, most: usize, during: Duration) -> Result<()> {
        let mut line = Line::to(address)?;
        let began = Instant::now();
        for n in 0..most {
            let Some((who, what)) = self.changes.get(self.sent.load(SeqCst)) else { break };
            thread::sleep((during * n as u32 / most as u32).saturating_sub(began.elapsed()));
            let person = &self.people[*who];
            person.change.store(SENT, SeqCst);
            self.sent.fetch_add(1, SeqCst);
            let reply = match what {
                Change::Profile => pipe.tell(&format!("profile {}", person.user))?,
                Change::Revocation => pipe.tell(&format!("revoke {}", person.token_id))?,
            };
            ensure!(reply == "done", "an operation was not acknowledged");
            person.change.store(ACKNOWLEDGED, SeqCst);
            self.check(&mut line, *who, false)?;
        }
        Ok(())
    }

    pub(crate) fn check(&self, line: &mut Line, who: usize, bare: bool) -> Result<()> {
        let person = &self.people[who];
        let before = person.change.load(SeqCst);
        let answer = line.ask(&person.token)?;
        let after = person.change.load(SeqCst);
        let right =
            if bare { answer.raw[answer.body..] == self.canned } else { self.right(who, &answer, before, after) };
        self.checked.fetch_add(1, SeqCst);
        if !right && self.wrong.fetch_add(1, SeqCst) < 5 {
            let (head, body) = answer.raw.split_at(answer.body);
            let status = String::from_utf8_lossy(head.get(9..12).unwrap_or_default());
            eprintln!("wrong or stale, for {}: {status} {}", person.username, String::from_utf8_lossy(body));
        }
        Ok(())
    }

    /// What was true before the change was acknowledged may be answered until then, what is true after it from the
    /// moment it was sent.
    fn right(&self, who: usize, answer: &Answer, before: u8, after: u8) -> bool {
        let person = &self.people[who];
        let change = self.changes.iter().find(|(whose, _)| *whose == who).map(|(_, what)| *what);
        let (old, new) = (before < ACKNOWLEDGED, after >= SENT);
        match answer.raw.get(9..12) {
            Some(b"401") => change == Some(Change::Revocation) && new,
            Some(b"200") => {
                let body: Value = serde_json::from_slice(&answer.raw[answer.body..]).unwrap_or_default();
                let theirs = body["username"] == *person.username && body["id"].as_i64() == person.user.parse().ok();
                theirs
                    && match (change, body["bio"].as_str()) {
                        (_, Some("")) => change.is_none() || old,
                        (Some(Change::Profile), Some(CHANGED)) => new,
                        _ => false,
                    }
            }
            _ => false,
        }
    }
}

/// The same throws in every run (xorshift).
pub(crate) struct Dice(pub u64);

impl Dice {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
