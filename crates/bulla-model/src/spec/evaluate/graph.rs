//! The order of the stages, and cycles among them.

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use crate::{
    spec::{
        Name,
        written::{Map, StageKeys},
    },
    yaml::At,
};

impl Context<'_> {
    /// Gives the stages so that each comes after those that it needs; `None` when they need one another in a circle.
    /// Needs that are not there are noted.
    pub(super) fn stage_order(&mut self, stages: &Map<Name, StageKeys>) -> Option<Vec<Name>> {
        let mut needs: BTreeMap<&Name, Vec<At<&Name>>> = BTreeMap::new();
        for (name, stage) in stages {
            let base = stage.stage.iter().map(|base| At { span: base.span.clone(), flow: false, value: &base.value });
            let copies = stage.copy.iter().map(|copy| &copy.output);
            let copies = copies.map(|output| At { span: output.span.clone(), flow: false, value: &output.value.stage });
            let (known, unknown): (Vec<_>, Vec<_>) =
                base.chain(copies).partition(|need| stages.contains_key(need.value));
            for need in unknown {
                self.unknown(&need.span, "stage", need.as_str(), stages.keys().map(|key| key.value.as_str()));
            }
            needs.insert(&name.value, known);
        }
        let mut order: Vec<Name> = Vec::new();
        let mut done: BTreeSet<&Name> = BTreeSet::new();
        while order.len() < needs.len() {
            let before = order.len();
            for (name, needs) in &needs {
                if !done.contains(name) && needs.iter().all(|need| done.contains(need.value)) {
                    done.insert(name);
                    order.push((*name).clone());
                }
            }
            if order.len() == before {
                self.circle(&needs, &done);
                return None;
            }
        }
        Some(order)
    }

    /// Names the stages of one circle.
    fn circle(&mut self, needs: &BTreeMap<&Name, Vec<At<&Name>>>, done: &BTreeSet<&Name>) {
        let mut path: Vec<At<&Name>> = Vec::new();
        let Some(start) = needs.keys().find(|name| !done.contains(**name)) else { return };
        let mut at: &Name = start;
        loop {
            let open = needs.get(at).and_then(|needs| needs.iter().find(|need| !done.contains(need.value)));
            let Some(need) = open else { return };
            if let Some(begin) = path.iter().position(|step| step.value == need.value) {
                let names: Vec<&str> = path[begin..].iter().map(|step| step.value.as_str()).collect();
                let message = match names.as_slice() {
                    [one] => format!("the stage `{one}` needs itself"),
                    _ => format!("stages need one another in a circle: {} → {}", names.join(" → "), need.value),
                };
                self.wrong(&need.span, message, "take one of the references out");
                return;
            }
            path.push(need.clone());
            at = need.value;
        }
    }
}
