//! Breaks the program on purpose, for tests (T32). Not in any default build.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt;

/// What is broken. Clones of an app share it.
#[derive(Default)]
pub struct Faults {
    garbles: AtomicBool,
    crowded: AtomicBool,
    repeat_is_reuse: AtomicBool,
    crashes: Mutex<Option<String>>,
    left_out: Mutex<Option<String>>,
}

impl Faults {
    /// Whether [`Faults::garble_all`] was called.
    pub fn garbles(&self) -> bool {
        self.garbles.load(Ordering::SeqCst)
    }

    /// From now on every answer has its status plus one and its body reversed.
    pub fn garble_all(&self) {
        self.garbles.store(true, Ordering::SeqCst);
    }

    /// From now on every thread gives every connection away.
    pub fn crowd(&self) {
        self.crowded.store(true, Ordering::SeqCst);
    }

    /// Whether [`Faults::crowd`] was called.
    pub(crate) fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::SeqCst)
    }

    /// From now on a code that is presented once more is reused, however soon that is: a test with a real clock does not
    /// wait two minutes.
    pub fn take_repeats_for_reuse(&self) {
        self.repeat_is_reuse.store(true, Ordering::SeqCst);
    }

    /// Whether [`Faults::take_repeats_for_reuse`] was called.
    pub(crate) fn repeats_are_reuse(&self) -> bool {
        self.repeat_is_reuse.load(Ordering::SeqCst)
    }

    /// From now on the handler at this path panics.
    pub fn crash(&self, path: &str) {
        *self.crashes.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.to_owned());
    }

    /// Panics if [`Faults::crash`] named this path.
    pub(crate) fn endpoint(&self, path: &str) {
        let crash = self.crashes.lock().unwrap_or_else(PoisonError::into_inner).as_deref() == Some(path);
        assert!(!crash, "a fault that a test switched on");
    }

    /// From now on the answers of the API have this key nowhere.
    pub fn leave_out(&self, key: &str) {
        *self.left_out.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.to_owned());
    }

    /// The key of [`Faults::leave_out`].
    pub(crate) fn left_out(&self) -> Option<String> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The answer as [`Faults::garble_all`] wants it.
    pub(crate) async fn garble(&self, response: Response) -> Response {
        if !self.garbles() {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let mut bytes = body.collect().await.map(|whole| whole.to_bytes().to_vec()).unwrap_or_default();
        bytes.reverse();
        parts.status = StatusCode::from_u16(parts.status.as_u16() + 1).unwrap_or(StatusCode::IM_A_TEAPOT);
        parts.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(parts, Body::from(bytes))
    }
}
