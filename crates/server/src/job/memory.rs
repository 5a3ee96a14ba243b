//! Memory that was freed goes back to the system.

use std::hint::black_box;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Runs until it is told to stop. The allocator keeps freed pages for a second, in case they are needed again. It returns
/// them when any thread frees a page after that second. After a flood no page may be freed for a long time, so this task
/// frees one every two seconds.
pub async fn give_back(stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        // Large enough to have pages of its own. They are never written to, so they take no memory of the system.
        drop(black_box(Vec::<u8>::with_capacity(black_box(LARGE))));
    }
}

const EVERY: Duration = Duration::from_secs(2);
const LARGE: usize = 16 << 20;
