//! One core for the whole process, for as long as a seed is written
//! ([0027](../../../../../docs/decisions/0027-a-seed-is-written-on-one-core.md)).

use std::collections::HashSet;

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// Until it is dropped, every thread of this process runs on the core that this one is on. Where the kernel does not
/// allow it, nothing happens.
#[must_use]
pub struct OneCore {
    usual: Option<CpuSet>,
}

impl OneCore {
    pub fn take() -> Self {
        let usual = sched_getaffinity(None).ok();
        if usual.is_some() {
            let mut one = CpuSet::new();
            one.set(sched_getcpu());
            move_all(&one);
        }
        Self { usual }
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        if let Some(usual) = &self.usual {
            move_all(usual);
        }
    }
}

/// A thread that starts meanwhile takes after the one that started it, so this goes on until nobody new is found. Each is
/// moved once: what the kernel makes of it may be less than was asked for.
fn move_all(to: &CpuSet) {
    let mut moved = HashSet::new();
    loop {
        let new: Vec<Pid> = threads().into_iter().filter(|thread| moved.insert(*thread)).collect();
        if new.is_empty() {
            return;
        }
        for thread in new {
            let _ = sched_setaffinity(Some(thread), to);
        }
    }
}

fn threads() -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_is_there_until_it_is_dropped_and_then_where_it_was() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv());
        let of_all =
            || -> Vec<_> { threads().iter().filter_map(|thread| sched_getaffinity(Some(*thread)).ok()).collect() };
        let usual = sched_getaffinity(None).unwrap();
        let one = OneCore::take();
        assert!(of_all().iter().all(|cores| cores.count() == 1));
        drop(one);
        assert!(of_all().iter().all(|cores| *cores == usual));
        drop(go);
        let _ = other.join();
    }
}
