//! Projects.

use tollhouse_domain::access::ability::{Ability, TargetKind};
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::id::{NamespaceId, ProjectId, UserId};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::namespace::{self, Namespace, NamespaceKind};
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::User;
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::members;
use tollhouse_store::namespaces::{self, Routed};
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::{projects, users};

use crate::operations::{Failed, Operation, refused};
use crate::refusal::{FieldFault, Refusal, ResourceKind};

/// Makes a project in a group, or in the creator's personal namespace.
#[derive(Clone, Debug)]
pub struct CreateProject {
    /// Who creates it.
    pub creator: UserId,
    /// The display name. `None`: as the path.
    pub name: Option<String>,
    /// Its own segment of the URL. `None`: made from the name.
    pub path: Option<String>,
    /// Where it goes. `None`: the creator's personal namespace.
    pub namespace: Option<NamespaceId>,
    /// Free text, at most 2,000 characters. `None`: null on the wire.
    pub description: Option<String>,
    /// Who may see it; never more than the group it is in.
    pub visibility: Visibility,
}

impl Operation for CreateProject {
    type Output = ProjectId;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<ProjectId>, Failed> {
        let creator = users::find(tx, self.creator).await?.ok_or(Refusal::NotFound(ResourceKind::User))?;
        let namespace = self.namespace(tx, &creator, now).await?;
        let name = self.name.as_ref().or(self.path.as_ref()).map_or("", |name| name.trim());
        let plan = Plan {
            name: name.to_owned(),
            path: self.path.clone().unwrap_or_else(|| path_of(name)),
            description: self.description.clone(),
            visibility: self.visibility,
        };
        plan.carry_out(tx, &namespace, Some(creator.id), now).await
    }
}

/// What a project is to be, wherever it goes and whoever makes it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The display name.
    pub name: String,
    /// Its own segment of the URL.
    pub path: String,
    /// Free text, at most 2,000 characters. `None`: null on the wire.
    pub description: Option<String>,
    /// Who may see it; never more than the group it is in.
    pub visibility: Visibility,
}

impl Plan {
    /// What is wrong with it, whatever else there is; `group`: how visible the group is that it goes to.
    pub fn faults(&self, group: Option<Visibility>) -> Vec<(&'static str, FieldFault)> {
        let mut faults = Vec::new();
        if self.name.trim().is_empty() {
            faults.push(("name", FieldFault::Blank));
        } else if self.name.chars().count() > 255 {
            faults.push(("name", FieldFault::TooLong(255)));
        }
        if !namespace::valid_path(&self.path) {
            faults.push(("path", FieldFault::PathCharacters));
        }
        // Lists show it whole, a hundred times on a page.
        if self.description.as_ref().is_some_and(|text| text.chars().count() > 2000) {
            faults.push(("description", FieldFault::TooLong(2000)));
        }
        if group.is_some_and(|group| self.visibility > group) {
            faults.push(("visibility_level", FieldFault::ExceedsGroup));
        }
        faults
    }

    /// Makes it. Whether `creator` may do that has been asked before.
    pub(crate) async fn carry_out(
        &self,
        tx: &mut Tx,
        namespace: &Namespace,
        creator: Option<UserId>,
        now: Timestamp,
    ) -> Result<Change<ProjectId>, Failed> {
        let group = (namespace.kind == NamespaceKind::Group).then_some(namespace.visibility);
        let faults = self.faults(group);
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults).into());
        }
        if projects::name_taken(tx, namespace.id, &self.name).await? {
            return Err(taken());
        }
        let new = projects::NewProject {
            namespace: namespace.id,
            creator,
            name: &self.name,
            path: &self.path,
            description: self.description.as_deref(),
            visibility: self.visibility,
        };
        let id = projects::insert(tx, &new, now).await.map_err(or_taken)?;
        let full_path = format!("{}/{}", namespace.full_path, self.path);
        namespaces::add_route(tx, &full_path, Routed::Project(id)).await.map_err(or_taken)?;
        if let Some(owner) = namespace.owner_id {
            members::insert(tx, MembershipSource::Project(id), owner, AccessLevel::Owner, None, None, now).await?;
        }
        Ok(Change::new(id, [Audit::new("project.created", Target::new("project", id.0)).with(full_path)]))
    }
}

impl CreateProject {
    /// Where it goes, if the creator may put it there.
    async fn namespace(&self, tx: &mut Tx, creator: &User, now: Timestamp) -> Result<Namespace, Failed> {
        let not_valid = || refused(Ability::CreateProjects, TargetKind::Group);
        let id = self.namespace.or(creator.namespace_id).ok_or_else(not_valid)?;
        // Its path, its visibility and the number of projects in it stay as they are until the commit.
        namespaces::lock_tree(tx, id).await?;
        let namespace = namespaces::find(tx, id).await?.ok_or_else(not_valid)?;
        match namespace.kind {
            NamespaceKind::User if namespace.owner_id != Some(creator.id) => return Err(not_valid().into()),
            NamespaceKind::User => {
                if projects::count_in(tx, id).await? >= creator.projects_limit {
                    return Err(Refusal::ProjectLimit(creator.projects_limit).into());
                }
            }
            NamespaceKind::Group => {
                let level = members::level_in_group(tx, id, creator.id, now).await?;
                if !Ability::CreateProjects.is_met(TargetKind::Group, level, creator.administrator) {
                    return Err(not_valid().into());
                }
            }
        }
        Ok(namespace)
    }
}

fn taken() -> Failed {
    let text = FieldFault::Taken;
    Refusal::Invalid(vec![("project_namespace.name", text), ("name", text), ("path", text)]).into()
}

fn or_taken(error: StoreError) -> Failed {
    match error {
        StoreError::Taken => taken(),
        error => error.into(),
    }
}

/// A path made of a name that came without one.
fn path_of(name: &str) -> String {
    let mut path = String::new();
    for c in name.chars() {
        match c {
            c if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') => path.push(c.to_ascii_lowercase()),
            _ if !path.is_empty() && !path.ends_with('-') => path.push('-'),
            _ => {}
        }
    }
    path.trim_end_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_makes_a_path() {
        assert_eq!(super::path_of("My  New App!"), "my-new-app");
        assert_eq!(super::path_of("日本"), "");
    }
}
