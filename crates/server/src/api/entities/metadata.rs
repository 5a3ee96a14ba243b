//! Which version of the wire is spoken (rest-api.md 4.6).

use crate::entity::entity;
use crate::entity::types::{Boolean, Null, Text};
use crate::entity::version::Version;

entity! {
    pub Metadata(it: Version) {
        version: Text = it.number(),
        revision: Text = concat!("tollhouse-", env!("CARGO_PKG_VERSION")),
        kas: AgentServer = (),
        enterprise: Boolean = false,
    }
}

entity! {
    /// The agent server for Kubernetes, which does not exist here.
    AgentServer(it: ()) {
        enabled: Boolean = false,
        externalUrl: Null = (),
        externalK8sProxyUrl: Null = (),
        version: Null = (),
    }
}
