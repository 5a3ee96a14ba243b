//! Groups.

use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::id::{NamespaceId, UserId};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::namespace::{self, Namespace, NamespaceKind};
use tollhouse_domain::text::name_fault;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::members;
use tollhouse_store::namespaces;
use tollhouse_store::tx::{Change, Tx};

use crate::operations::{Failed, Operation};
use crate::refusal::{FieldFault, Refusal, ResourceKind};

/// Makes a group, at the top or inside another; whoever makes it owns it.
#[derive(Clone, Debug)]
pub struct CreateGroup {
    pub name: String,
    pub path: String,
    pub parent: Option<NamespaceId>,
    pub visibility: Visibility,
    pub owner: Option<UserId>,
}

impl CreateGroup {
    /// What is wrong with it, whatever else there is; `parent`: how visible the group around it is.
    pub fn fault(&self, parent: Option<Visibility>) -> Option<(&'static str, FieldFault)> {
        if let Some(fault) = name_fault(&self.name) {
            return Some(("name", fault.into()));
        }
        if !namespace::valid_path(&self.path) {
            return Some(("path", FieldFault::PathCharacters));
        }
        if parent.is_none() && namespace::reserved(&self.path) {
            return Some(("path", FieldFault::Reserved));
        }
        if parent.is_some_and(|parent| self.visibility > parent) {
            return Some(("visibility_level", FieldFault::ExceedsParentGroup));
        }
        None
    }
}

impl Operation for CreateGroup {
    type Output = Namespace;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Namespace>, Failed> {
        let parent = match self.parent {
            Some(id) => Some(namespaces::find(tx, id).await?.ok_or(Refusal::NotFound(ResourceKind::Group))?),
            None => None,
        };
        if parent.as_ref().is_some_and(|parent| parent.kind != NamespaceKind::Group) {
            return Err(Refusal::NotFound(ResourceKind::Group).into());
        }
        if let Some(fault) = self.fault(parent.as_ref().map(|parent| parent.visibility)) {
            return Err(Refusal::Invalid(vec![fault]).into());
        }
        let new = namespaces::NewNamespace {
            kind: NamespaceKind::Group,
            parent: parent.as_ref(),
            owner: None,
            name: &self.name,
            path: &self.path,
            description: "",
            visibility: self.visibility,
        };
        let group = match namespaces::insert(tx, &new, now).await {
            Err(StoreError::Taken) => {
                return Err(Refusal::field("path", FieldFault::Taken).into());
            }
            made => made?,
        };
        if let Some(owner) = self.owner {
            members::insert(tx, MembershipSource::Group(group.id), owner, AccessLevel::Owner, None, None, now).await?;
        }
        let audit = Audit::new("group.created", Target::new("group", group.id.0)).with(&*group.full_path);
        Ok(Change::new(group, [audit]))
    }
}
