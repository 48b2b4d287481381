//! From where a remote store is written: results of a branch that anybody may push to are not for all.

use std::path::Path;

/// Gives the branch that is checked out in the git checkout around a folder; `None` where there is none, or a commit is checked
/// out and no branch.
pub(super) fn of(project: &Path) -> Option<String> {
    bulla_build::source::branch_of(project)
}

/// Says whether a branch is among those that write.
pub(super) fn allows(write_from: &[String], branch: Option<&str>) -> bool {
    write_from.iter().any(|allowed| allowed == "*" || Some(allowed.as_str()) == branch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_branches_that_are_named_write() {
        let named = |names: &[&str], branch| allows(&names.iter().map(|&name| name.into()).collect::<Vec<_>>(), branch);
        assert!(named(&["main", "release"], Some("release")));
        assert!(named(&["*"], None) && named(&["*"], Some("x")));
        assert!(!named(&["main"], None) && !named(&["main"], Some("main2")) && !named(&[], Some("main")));
        assert!(!named(&["main"], Some("Main")) && !named(&["ma*"], Some("main")), "names, not patterns");
    }
}
