//! Puts the question to `resolvo`, in its words: names, solvables, version sets.
//!
//! A version set is one name and the packages of it that will do; a group of alternatives is a union of those.

use std::{any::Any, cell::RefCell, collections::BTreeMap, fmt::Display, rc::Rc};

use resolvo::{
    Candidates, Condition, ConditionId, ConditionalRequirement, DenseIndex as _, Dependencies, DependencyProvider,
    Interner, KnownDependencies, NameId, Problem, Requirement, SolvableId, Solver, SolverCache, StringId,
    UnsolvableOrCancelled, VersionSetId, VersionSetUnionId,
};

use super::pool::{Group, Id, Pool, Slot};

/// How often the solver may ask whether to go on; a root of 450 packages asks some thousand times.
const MAX_STEPS: u64 = 2_000_000;

/// What the solver found.
pub(super) enum Outcome {
    Solved(Vec<Id>),
    Unsolvable,
    TooHard(u64),
}

/// Solves for groups that must all hold.
pub(super) fn run<'a>(pool: &Pool<'a>, roots: &[Group]) -> Outcome {
    pool.steps.set(0);
    let provider = Provider {
        pool,
        names: RefCell::default(),
        name_ids: RefCell::default(),
        sets: RefCell::default(),
        set_ids: RefCell::default(),
        unions: RefCell::default(),
    };
    let requirements = roots.iter().map(|group| provider.requirement(group)).collect();
    let mut solver = Solver::new(provider);
    match solver.solve(Problem::new().requirements(requirements)) {
        Ok(solvables) => Outcome::Solved(solvables.into_iter().map(from_solvable).collect()),
        Err(UnsolvableOrCancelled::Unsolvable(_)) => Outcome::Unsolvable,
        Err(UnsolvableOrCancelled::Cancelled(_)) => Outcome::TooHard(MAX_STEPS),
    }
}

fn from_solvable(solvable: SolvableId) -> Id {
    Id(solvable.into_raw())
}

fn to_solvable(id: Id) -> SolvableId {
    SolvableId::from_raw(id.0)
}

struct Set {
    name: NameId,
    /// In the order of their ids.
    members: Rc<[Id]>,
    text: String,
}

/// The raw id of a name, and the packages of it.
type SetKey = (u32, Rc<[Id]>);

struct Provider<'p, 'a> {
    pool: &'p Pool<'a>,
    names: RefCell<Vec<Slot<'a>>>,
    name_ids: RefCell<BTreeMap<Slot<'a>, NameId>>,
    sets: RefCell<Vec<Set>>,
    set_ids: RefCell<BTreeMap<SetKey, VersionSetId>>,
    unions: RefCell<Vec<Vec<VersionSetId>>>,
}

impl<'a> Provider<'_, 'a> {
    fn name(&self, name: Slot<'a>) -> NameId {
        *self.name_ids.borrow_mut().entry(name).or_insert_with(|| {
            let mut names = self.names.borrow_mut();
            names.push(name);
            NameId::from_index(names.len() - 1)
        })
    }

    fn name_of(&self, name: NameId) -> Slot<'a> {
        self.names.borrow().get(name.to_index()).copied().expect("names are made by the provider")
    }

    fn set(&self, name: Slot<'a>, mut members: Vec<Id>, text: &str) -> VersionSetId {
        let name = self.name(name);
        members.sort();
        let members: Rc<[Id]> = members.into();
        *self.set_ids.borrow_mut().entry((name.into_raw(), Rc::clone(&members))).or_insert_with(|| {
            let mut sets = self.sets.borrow_mut();
            sets.push(Set { name, members, text: text.to_owned() });
            VersionSetId::from_index(sets.len() - 1)
        })
    }

    /// Cuts the options into runs of one name each, so that their order stays.
    fn requirement(&self, group: &Group) -> ConditionalRequirement {
        let mut runs: Vec<(Slot<'a>, Vec<Id>)> = Vec::new();
        for id in &group.options {
            let name = self.pool.slot(*id);
            match runs.iter_mut().find(|(other, _)| *other == name) {
                Some((_, ids)) => ids.push(*id),
                None => runs.push((name, vec![*id])),
            }
        }
        let sets: Vec<VersionSetId> = runs.into_iter().map(|(name, ids)| self.set(name, ids, &group.text)).collect();
        let requirement = match *sets.as_slice() {
            [] => Requirement::Single(self.set(Slot::own(""), Vec::new(), &group.text)),
            [one] => Requirement::Single(one),
            _ => {
                let mut unions = self.unions.borrow_mut();
                unions.push(sets);
                Requirement::Union(VersionSetUnionId::from_index(unions.len() - 1))
            }
        };
        requirement.into()
    }

    /// Says "if it is there at all, it is one of the others" of each name that is banned.
    fn constraints(&self, id: Id) -> Vec<VersionSetId> {
        let mut banned: BTreeMap<Slot<'a>, (Vec<Id>, String)> = BTreeMap::new();
        for ban in &self.pool.relations(id).bans {
            for other in &ban.banned {
                let entry = banned.entry(self.pool.slot(*other));
                entry.or_insert_with(|| (Vec::new(), ban.text.clone())).0.push(*other);
            }
        }
        let rest =
            |name: Slot<'a>, ids: &[Id]| self.pool.named(name).iter().copied().filter(|i| !ids.contains(i)).collect();
        banned.into_iter().map(|(name, (ids, text))| self.set(name, rest(name, &ids), &text)).collect()
    }
}

impl Interner for Provider<'_, '_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl Display + '_ {
        self.pool.label(from_solvable(solvable))
    }

    fn display_name(&self, name: NameId) -> impl Display + '_ {
        self.pool.name(self.name_of(name))
    }

    fn display_version_set(&self, set: VersionSetId) -> impl Display + '_ {
        self.sets.borrow().get(set.to_index()).map(|set| set.text.clone()).unwrap_or_default()
    }

    fn display_string(&self, _: StringId) -> impl Display + '_ {
        ""
    }

    fn version_set_name(&self, set: VersionSetId) -> NameId {
        self.sets.borrow().get(set.to_index()).expect("sets are made by the provider").name
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        self.name(self.pool.slot(from_solvable(solvable)))
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        self.unions.borrow().get(union.to_index()).cloned().unwrap_or_default().into_iter()
    }

    fn resolve_condition(&self, _: ConditionId) -> Condition {
        unreachable!("no requirement has a condition")
    }
}

impl DependencyProvider for Provider<'_, '_> {
    async fn filter_candidates(&self, candidates: &[SolvableId], set: VersionSetId, inverse: bool) -> Vec<SolvableId> {
        let sets = self.sets.borrow();
        let members = sets.get(set.to_index()).map_or(&[][..], |set| &set.members);
        let is_in = |candidate: SolvableId| members.binary_search(&from_solvable(candidate)).is_ok();
        candidates.iter().copied().filter(|candidate| is_in(*candidate) != inverse).collect()
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates> {
        let candidates = self.pool.named(self.name_of(name)).iter().copied().map(to_solvable).collect();
        Some(Candidates { candidates, ..Candidates::default() })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        solvables.sort_by_key(|solvable| self.pool.rank(from_solvable(*solvable)));
    }

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        let id = from_solvable(solvable);
        let requirements = self.pool.relations(id).groups.iter().map(|group| self.requirement(group)).collect();
        Dependencies::Known(KnownDependencies { requirements, constrains: self.constraints(id) })
    }

    fn should_cancel_with_value(&self) -> Option<Box<dyn Any>> {
        self.pool.steps.set(self.pool.steps.get() + 1);
        (self.pool.steps.get() > MAX_STEPS).then(|| Box::new(()) as Box<dyn Any>)
    }
}
