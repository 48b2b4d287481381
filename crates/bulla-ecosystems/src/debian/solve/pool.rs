//! The packages that were looked at so far, and what their relations mean among them.
//!
//! Nothing is read before it is asked for: a root of 450 packages looks at some thousand of 64,000.

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{Choice, Question, SolveError, explain::nearest};
use crate::debian::{
    packages::Package,
    relation::{self, Relation, Request},
    version::Version,
};

/// A package in the pool, by its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(pub(super) u32);

/// What one package at most is chosen for: a name, of the root's own architecture or of the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot<'a> {
    pub(super) name: &'a str,
    pub(super) foreign: bool,
}

impl<'a> Slot<'a> {
    pub(super) const fn own(name: &'a str) -> Self {
        Self { name, foreign: false }
    }
}

#[derive(Debug, Clone, Copy)]
struct Member<'a> {
    choice: Choice<'a>,
    foreign: bool,
    /// The place among the packages of its name, the most wanted first.
    rank: u32,
}

/// Something that must hold: one of these packages must be there.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// What was written, for people.
    pub(super) text: String,
    /// The packages that would do, the most wanted first; empty when there are none.
    pub(super) options: Vec<Id>,
}

/// What a package must not be together with.
#[derive(Debug, Clone)]
pub(super) struct Ban {
    /// `Conflicts` or `Breaks`, and what was written.
    pub(super) text: String,
    pub(super) banned: Vec<Id>,
}

/// The relations of one package.
#[derive(Debug, Default)]
pub(super) struct Relations {
    pub(super) groups: Vec<Group>,
    pub(super) bans: Vec<Ban>,
}

/// The packages that provide a name, with the version that they provide it in, and whether for every architecture (`:any`).
type Providers<'a> = Rc<[(Id, Option<Version<'a>>, bool)]>;

pub(super) struct Pool<'a> {
    question: Question<'a>,
    locked: BTreeSet<(&'a str, &'a str, &'a str)>,
    locked_names: BTreeSet<&'a str>,
    requested: BTreeSet<&'a str>,
    provided: BTreeSet<&'a str>,
    members: RefCell<Vec<Member<'a>>>,
    named: RefCell<BTreeMap<Slot<'a>, Rc<[Id]>>>,
    providers: RefCell<BTreeMap<Slot<'a>, Providers<'a>>>,
    relations: RefCell<BTreeMap<Id, Rc<Relations>>>,
    error: RefCell<Option<SolveError>>,
    pub(super) steps: Cell<u64>,
}

impl<'a> Pool<'a> {
    pub(super) fn new(question: &Question<'a>) -> Self {
        let requested: BTreeSet<&str> = question.requests.iter().map(Request::name).collect();
        Self {
            question: *question,
            locked: question.locked.iter().map(|l| (&*l.name, &*l.version, &*l.architecture)).collect(),
            locked_names: question.locked.iter().map(|l| l.name.as_str()).collect(),
            provided: question.provided.iter().copied().filter(|name| !requested.contains(name)).collect(),
            requested,
            members: RefCell::default(),
            named: RefCell::default(),
            providers: RefCell::default(),
            relations: RefCell::default(),
            error: RefCell::default(),
            steps: Cell::new(0),
        }
    }

    pub(super) fn take_error(&self) -> Option<SolveError> {
        self.error.take()
    }

    fn member(&self, id: Id) -> Member<'a> {
        *self.members.borrow().get(id.0 as usize).expect("ids are made by the pool")
    }

    pub(super) fn choice(&self, id: Id) -> Choice<'a> {
        self.member(id).choice
    }

    pub(super) fn package(&self, id: Id) -> Package<'a> {
        self.choice(id).package
    }

    pub(super) fn rank(&self, id: Id) -> u32 {
        self.member(id).rank
    }

    /// Gives what a package may be chosen for.
    pub(super) fn slot(&self, id: Id) -> Slot<'a> {
        let Member { choice, foreign, .. } = self.member(id);
        Slot { name: choice.package.name, foreign }
    }

    /// Names a slot for people.
    pub(super) fn name(&self, slot: Slot<'_>) -> String {
        match self.question.foreign.filter(|_| slot.foreign) {
            Some(architecture) => format!("{}:{architecture}", slot.name),
            None => slot.name.to_owned(),
        }
    }

    /// Names a package with its version, for people.
    pub(super) fn label(&self, id: Id) -> String {
        format!("{} {}", self.name(self.slot(id)), self.package(id).version)
    }

    /// Names a package's version and suite, for people.
    pub(super) fn place(&self, id: Id) -> String {
        let choice = self.choice(id);
        let suite = self.question.sources.get(choice.source).and_then(|s| s.suites.first()).map_or("", |s| s);
        format!("{} ({suite})", choice.package.version)
    }

    /// Lists the versions and suites of the packages of a name that is known already, for people.
    pub(super) fn places(&self, name: &str) -> Vec<String> {
        let named = self.named.borrow();
        let slots = [false, true].map(|foreign| Slot { name, foreign });
        let ids = slots.iter().filter_map(|slot| named.get(slot)).flat_map(|ids| ids.iter().take(20));
        ids.map(|id| self.place(*id)).collect()
    }

    /// Gives the packages of a name and side, the most wanted first.
    pub(super) fn named(&self, slot: Slot<'a>) -> Rc<[Id]> {
        let Slot { name, foreign } = slot;
        if let Some(found) = self.named.borrow().get(&slot) {
            return Rc::clone(found);
        }
        let mut choices = Vec::new();
        for (source, list) in self.question.sources.iter().enumerate() {
            for position in list.index.named(name) {
                match list.index.package(position) {
                    Ok(package) if self.is_of(&package, foreign) => choices.push(Choice { source, package }),
                    Ok(_) => {}
                    Err(error) => self.fail(error.into()),
                }
            }
        }
        choices.sort_by_key(|choice| {
            let Package { name, version, architecture, .. } = choice.package;
            let source = self.question.sources.get(choice.source);
            (
                !self.locked.contains(&(name, version.as_str(), architecture)),
                source.is_some_and(|s| s.not_automatic),
                Reverse(version),
                choice.source,
            )
        });
        let mut members = self.members.borrow_mut();
        let ids: Rc<[Id]> = (0..)
            .zip(choices)
            .map(|(rank, choice)| {
                members.push(Member { choice, foreign, rank });
                Id(members.len() as u32 - 1)
            })
            .collect();
        self.named.borrow_mut().insert(slot, Rc::clone(&ids));
        ids
    }

    /// Says whether a package is of a side. What is for all architectures is the root's own (Debian's MultiarchSpec).
    fn is_of(&self, package: &Package<'_>, foreign: bool) -> bool {
        match foreign {
            true => Some(package.architecture) == self.question.foreign,
            false => package.architecture == "all" || package.architecture == self.question.architecture,
        }
    }

    fn fail(&self, error: SolveError) {
        self.error.borrow_mut().get_or_insert(error);
    }

    /// Gives the packages of a side that provide a name.
    fn providers(&self, slot: Slot<'a>) -> Providers<'a> {
        let Slot { name, foreign } = slot;
        if let Some(found) = self.providers.borrow().get(&slot) {
            return Rc::clone(found);
        }
        let mut names = BTreeSet::new();
        for list in self.question.sources {
            for position in list.index.providers(name) {
                match list.index.package(position) {
                    Ok(package) => {
                        names.insert(package.name);
                    }
                    Err(error) => self.fail(error.into()),
                }
            }
        }
        let mut found = Vec::new();
        for id in names.into_iter().flat_map(|name| self.named(Slot { name, foreign }).to_vec()) {
            let package = self.package(id);
            for group in self.parse(&package, "Provides", package.provides) {
                let provided = group.iter().filter(|relation| relation.name == name);
                found.extend(provided.map(|r| (id, r.bound.map(|(_, version)| version), r.qualifier == Some("any"))));
            }
        }
        found.sort_by_key(|(id, ..)| self.liking(*id));
        let found: Providers<'a> = found.into();
        self.providers.borrow_mut().insert(slot, Rc::clone(&found));
        found
    }

    /// Orders providers: as apt does, essential ones first, then by priority; then by name.
    fn liking(&self, id: Id) -> (bool, usize, &'a str, u32) {
        let package = self.package(id);
        let priorities = ["required", "important", "standard", "optional"];
        let priority = priorities.iter().position(|p| *p == package.priority).unwrap_or(priorities.len());
        (!package.essential, priority, package.name, self.rank(id))
    }

    fn parse(&self, package: &Package<'a>, field: &'static str, value: &'a str) -> Vec<Vec<Relation<'a>>> {
        let own = Some(package.architecture).filter(|architecture| *architecture != "all");
        relation::parse(value, own.unwrap_or(self.question.architecture)).unwrap_or_else(|source| {
            self.fail(SolveError::Relation { package: package.name.to_owned(), field, source });
            Vec::new()
        })
    }

    /// Finds the packages that meet a relation of a package: those of the name, then those that provide it. A package of the
    /// other architecture is met by the root's own ones that say so (`Multi-Arch: foreign`), which run there, then by
    /// those of its own architecture.
    fn matching(&self, relation: &Relation<'a>, foreign: bool) -> Vec<Id> {
        match relation.qualifier {
            None | Some("any") if foreign => {
                [self.of_side(relation, false, true), self.of_side(relation, true, false)].concat()
            }
            None | Some("any" | "native") => self.of_side(relation, false, false),
            Some(one) if one == self.question.architecture => self.of_side(relation, false, false),
            Some(one) if Some(one) == self.question.foreign => self.of_side(relation, true, false),
            Some(_) => Vec::new(),
        }
    }

    /// Finds the packages of a side that a relation is about; of those that are `across` only the ones that another
    /// architecture may use.
    fn of_side(&self, relation: &Relation<'a>, foreign: bool, across: bool) -> Vec<Id> {
        let slot = Slot { name: relation.name, foreign };
        let any = relation.qualifier == Some("any");
        let shared = |id: Id| match self.package(id).multi_arch {
            "foreign" => true,
            "allowed" => any,
            _ => false,
        };
        let real = self.named(slot);
        let mut found: Vec<Id> = real
            .iter()
            .copied()
            .filter(|id| relation.accepts(self.package(*id).version) && (!across || shared(*id)))
            .collect();
        for (id, version, for_any) in self.providers(slot).iter() {
            // What is provided without a version meets no bound (Debian Policy 7.5).
            let fits = relation.bound.is_none() || version.is_some_and(|version| relation.accepts(version));
            let fits = fits && (!across || self.package(*id).multi_arch == "foreign" || any && *for_any);
            if fits && !found.contains(id) {
                found.push(*id);
            }
        }
        found
    }

    /// Finds the packages that a package must not be together with: without an architecture, those of both.
    fn excluded(&self, relation: &Relation<'a>) -> Vec<Id> {
        match (relation.qualifier, self.question.foreign) {
            (None | Some("any"), Some(_)) => {
                [self.of_side(relation, false, false), self.of_side(relation, true, false)].concat()
            }
            _ => self.matching(relation, false),
        }
    }

    /// Gives what a package of the other architecture excludes of the root's own packages of its name: other versions, and all
    /// where it does not say that copies may stand beside each other (`Multi-Arch: same`).
    fn beside(&self, id: Id) -> Option<Ban> {
        let (slot, package) = (self.slot(id), self.package(id));
        if !slot.foreign {
            return None;
        }
        let own = self.named(Slot::own(slot.name));
        let fits = |other: &Package<'_>| {
            package.multi_arch == "same" && other.multi_arch == "same" && other.version == package.version
        };
        let banned: Vec<Id> = own.iter().copied().filter(|own| !fits(&self.package(*own))).collect();
        let text = format!("cannot stand beside another {}", slot.name);
        (!banned.is_empty()).then_some(Ban { text, banned })
    }

    /// Reads what a package needs and excludes.
    pub(super) fn relations(&self, id: Id) -> Rc<Relations> {
        if let Some(found) = self.relations.borrow().get(&id) {
            return Rc::clone(found);
        }
        let (package, foreign) = (self.package(id), self.slot(id).foreign);
        let mut relations = Relations::default();
        for (field, value) in [("Pre-Depends", package.pre_depends), ("Depends", package.depends)] {
            for alternatives in self.parse(&package, field, value) {
                if !alternatives.iter().any(|relation| self.is_given(package.name, relation.name)) {
                    relations.groups.push(self.group(&alternatives, foreign));
                }
            }
        }
        for (field, value) in [("Conflicts", package.conflicts), ("Breaks", package.breaks)] {
            for relation in self.parse(&package, field, value).iter().flatten() {
                let mut banned = self.excluded(relation);
                // A package may conflict with what it provides itself (Debian Policy 7.6.2).
                banned.retain(|other| self.package(*other).name != package.name);
                if !banned.is_empty() {
                    let verb = if field == "Breaks" { "breaks" } else { "conflicts with" };
                    relations.bans.push(Ban { text: format!("{verb} {relation}"), banned });
                }
            }
        }
        relations.bans.extend(self.beside(id));
        let relations = Rc::new(relations);
        self.relations.borrow_mut().insert(id, Rc::clone(&relations));
        relations
    }

    /// Says whether what a package depends on counts as installed.
    fn is_given(&self, dependent: &str, name: &str) -> bool {
        let excused = self.question.excused.contains(&(dependent, name)) && !self.requested.contains(name);
        excused || self.provided.contains(name)
    }

    fn group(&self, alternatives: &[Relation<'a>], foreign: bool) -> Group {
        let mut options: Vec<Id> = Vec::new();
        for id in alternatives.iter().flat_map(|relation| self.matching(relation, foreign)) {
            if !options.contains(&id) {
                options.push(id);
            }
        }
        // Stable: what is wanted anyway comes first, and else the order in which the alternatives were written.
        options.sort_by_key(|id| {
            let name = self.package(*id).name;
            (!self.requested.contains(name), !self.locked_names.contains(name))
        });
        let text = alternatives.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
        Group { text, options }
    }

    /// Turns what was asked for into groups: the requests, then the essential packages.
    pub(super) fn roots(&self) -> Result<Vec<Group>, SolveError> {
        let mut roots = Vec::new();
        for request in self.question.requests {
            roots.push(self.request(request)?);
        }
        if self.question.essential {
            let mut names = BTreeSet::new();
            for list in self.question.sources.iter().filter(|list| !list.not_automatic) {
                for position in list.index.essential() {
                    let package = list.index.package(position)?;
                    if self.is_of(&package, false) {
                        names.insert(package.name);
                    }
                }
            }
            // Where something must say that `/usr` is merged, this says it without doing it, and pulls in no Perl.
            let merged = Some(MERGED).filter(|name| !self.named(Slot::own(name)).is_empty());
            for name in merged.into_iter().chain(names) {
                roots.push(Group { text: name.to_owned(), options: self.named(Slot::own(name)).to_vec() });
            }
        }
        self.take_error().map_or(Ok(roots), Err)
    }

    fn request(&self, request: &'a Request) -> Result<Group, SolveError> {
        let relation = Relation { name: request.name(), qualifier: None, bound: None };
        let foreign = request.architecture().is_some() && request.architecture() == self.question.foreign;
        let real = self.named(Slot { name: request.name(), foreign });
        let mut all = if real.is_empty() { self.of_side(&relation, foreign, false) } else { real.to_vec() };
        if all.is_empty() && foreign {
            // What is the same for all architectures, or may be used by others.
            all = self.of_side(&relation, false, false);
            all.retain(|id| self.package(*id).architecture == "all" || self.package(*id).multi_arch == "foreign");
        }
        if let Some(error) = self.take_error() {
            return Err(error);
        }
        if all.is_empty() {
            return Err(SolveError::Unknown {
                name: request.name().to_owned(),
                suites: self.suites(),
                nearest: nearest(request.name(), self.question.sources.iter().flat_map(|s| s.index.names())),
            });
        }
        let options: Vec<Id> = all.iter().copied().filter(|id| self.is_wanted(request, *id)).collect();
        if options.is_empty() {
            let available = all.iter().take(20).map(|id| self.place(*id)).collect();
            return Err(SolveError::NoVersion { request: Box::new(request.clone()), available });
        }
        Ok(Group { text: request.to_string(), options })
    }

    fn is_wanted(&self, request: &Request, id: Id) -> bool {
        let choice = self.choice(id);
        let source = self.question.sources.get(choice.source);
        let suite =
            request.suite().is_none_or(|suite| source.is_some_and(|s| s.suites.iter().any(|name| name == suite)));
        suite && request.accepts(choice.package.version)
    }

    fn suites(&self) -> Vec<String> {
        let mut suites: Vec<String> = self.question.sources.iter().filter_map(|s| s.suites.first().cloned()).collect();
        suites.dedup();
        suites
    }
}

const MERGED: &str = "usr-is-merged";
