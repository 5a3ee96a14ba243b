//! Groups.

use tollhouse_domain::access::ability::Ability;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::id::{NamespaceId, UserId};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::namespace::{self, Namespace, NamespaceKind};
use tollhouse_domain::text::name_fault;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::members;
use tollhouse_store::namespaces::{self, GroupChange};
use tollhouse_store::tx::{Change, Tx};

use crate::operations::standing::require;
use crate::operations::{Failed, Operation};
use crate::refusal::{FieldFault, Refusal, ResourceKind};

/// Makes a group, at the top or inside another; whoever makes it owns it.
#[derive(Clone, Debug)]
pub struct CreateGroup {
    /// The display name.
    pub name: String,
    /// Its own segment of the URL.
    pub path: String,
    /// The group around it. `None`: a top-level group.
    pub parent: Option<NamespaceId>,
    /// Who may see it; never more than the group around it.
    pub visibility: Visibility,
    /// Who becomes its owner. `None`: nobody does.
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
            // Its path and its visibility stay as they are until the commit.
            Some(id) => {
                namespaces::lock_tree(tx, id).await?;
                Some(namespaces::find(tx, id).await?.ok_or(Refusal::NotFound(ResourceKind::Group))?)
            }
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

/// Changes a group.
#[derive(Clone, Debug)]
pub struct UpdateGroup {
    /// The group.
    pub group: NamespaceId,
    /// Who has to have the ability. `None`: the operator.
    pub caller: Option<UserId>,
    /// The display name. `None`: as it is.
    pub name: Option<String>,
    /// Its own segment of the URL; moves everything inside along. `None`: as it is.
    pub path: Option<String>,
    /// Free text. `None`: as it is.
    pub description: Option<String>,
    /// Who may see it; not less than what is inside, nor more than the group around it. `None`: as it is.
    pub visibility: Option<Visibility>,
}

impl Operation for UpdateGroup {
    type Output = ();
    /// It may narrow a visibility, which no full disk prevents. It adds no row but its audit row.
    const GROWS: bool = false;
    /// `false`, though it may: moving a large group takes long, and what commits together waits for the slowest.
    const REVOKES: bool = false;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        namespaces::lock_tree(tx, self.group).await?;
        let old = namespaces::find(tx, self.group).await?.filter(|found| found.kind == NamespaceKind::Group);
        let old = old.ok_or(Refusal::NotFound(ResourceKind::Group))?;
        if let Some(caller) = self.caller {
            require(tx, caller, Ability::AdminGroup, MembershipSource::Group(old.id), now).await?;
        }
        let new = GroupChange {
            name: self.name.as_deref().unwrap_or(&old.name),
            path: self.path.as_deref().unwrap_or(&old.path),
            description: self.description.as_deref().unwrap_or(&old.description),
            visibility: self.visibility.unwrap_or(old.visibility),
        };
        let parent = match old.parent_id {
            Some(id) => namespaces::find(tx, id).await?,
            None => None,
        };
        let faults = faults(tx, &old, &new, parent.as_ref()).await?;
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults).into());
        }
        let differences = differences(&old, &new);
        if differences.is_empty() {
            // A repeat of a change whose answer was lost is acknowledged as the change itself (revocation.md W4).
            return Ok(Change::already(()));
        }
        match namespaces::change(tx, &old, &new, parent.as_ref(), now).await {
            Err(StoreError::Taken) => return Err(Refusal::field("path", FieldFault::Taken).into()),
            changed => changed?,
        }
        let audit = Audit::new("group.updated", Target::new("group", old.id.0)).with(differences.join(", "));
        Ok(Change::new((), [audit]))
    }
}

/// The rules for what changes. What was allowed when it was made stays.
async fn faults(
    tx: &mut Tx,
    old: &Namespace,
    new: &GroupChange<'_>,
    parent: Option<&Namespace>,
) -> Result<Vec<(&'static str, FieldFault)>, Failed> {
    let mut faults = Vec::new();
    if new.name != old.name {
        faults.extend(name_fault(new.name).map(|fault| ("name", fault.into())));
    }
    if new.path != old.path {
        if !namespace::valid_path(new.path) {
            faults.push(("path", FieldFault::PathCharacters));
        } else if parent.is_none() && namespace::reserved(new.path) {
            faults.push(("path", FieldFault::Reserved));
        }
    }
    if new.description.chars().count() > LONGEST_DESCRIPTION {
        faults.push(("description", FieldFault::TooLong(LONGEST_DESCRIPTION)));
    }
    if new.visibility > old.visibility && parent.is_some_and(|parent| new.visibility > parent.visibility) {
        faults.push(("visibility_level", FieldFault::ExceedsParentGroup));
    }
    if new.visibility < old.visibility {
        let (groups, projects) = namespaces::most_visible_inside(tx, old.id).await?;
        if projects > Some(new.visibility) {
            faults.push(("visibility_level", FieldFault::ProjectsMoreVisible(new.visibility)));
        }
        if groups > Some(new.visibility) {
            faults.push(("visibility_level", FieldFault::SubgroupsMoreVisible(new.visibility)));
        }
    }
    Ok(faults)
}

/// For the audit log.
fn differences(old: &Namespace, new: &GroupChange<'_>) -> Vec<String> {
    let text = [("name", &*old.name, new.name), ("path", &*old.path, new.path)];
    let mut all: Vec<String> = text
        .into_iter()
        .filter(|(_, old, new)| old != new)
        .map(|(field, old, new)| format!("{field} {old} to {new}"))
        .collect();
    if old.description != new.description {
        all.push("description".to_owned());
    }
    if old.visibility != new.visibility {
        all.push(format!("visibility {} to {}", old.visibility.as_str(), new.visibility.as_str()));
    }
    all
}

/// In characters.
const LONGEST_DESCRIPTION: usize = 500;
