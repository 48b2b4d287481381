//! A small assembler of classic BPF for seccomp: a table from call number to rule becomes a binary search.

use std::collections::BTreeMap;

pub(crate) use libc::sock_filter as Instruction;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const IF_BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

/// What the kernel does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It runs.
    Allow,
    /// It fails with this errno; 0 is success without doing anything.
    Errno(i32),
    /// The supervisor is asked.
    Notify,
    /// The process is killed.
    Kill,
}

impl Verdict {
    const fn code(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
            Self::Notify => libc::SECCOMP_RET_USER_NOTIF,
            Self::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

/// What is decided about one call: at once, or after a look at its arguments (their low 32 bits, but for pointers).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The same for all arguments.
    Always(Verdict),
    /// `yes` when `argument & mask` is one of the values, else `no`.
    OneOf { argument: u32, mask: u32, values: Vec<u32>, yes: Box<Rule>, no: Box<Rule> },
    /// `yes` when a bit of the mask is set in the argument, else `no`.
    Bits { argument: u32, mask: u32, yes: Box<Rule>, no: Box<Rule> },
    /// `yes` when the argument is not 0 in all 64 bits, else `no`.
    Pointer { argument: u32, yes: Box<Rule>, no: Box<Rule> },
}

impl Rule {
    fn assemble(&self, out: &mut Vec<Instruction>) {
        match self {
            Self::Always(verdict) => out.push(plain(RETURN, verdict.code())),
            Self::OneOf { argument, mask, values, yes, no } => {
                out.push(plain(LOAD, low(*argument)));
                if *mask != u32::MAX {
                    out.push(plain(AND, *mask));
                }
                let yes = yes.assembled();
                for value in values {
                    // A match falls into a copy of `yes`; the copies are two instructions at most in our tables.
                    out.push(branch(IF_EQUAL, *value, 0, length(&yes)));
                    out.extend_from_slice(&yes);
                }
                no.assemble(out);
            }
            Self::Bits { argument, mask, yes, no } => {
                let yes = yes.assembled();
                out.push(plain(LOAD, low(*argument)));
                out.push(branch(IF_BITS, *mask, 0, length(&yes)));
                out.extend(yes);
                no.assemble(out);
            }
            Self::Pointer { argument, yes, no } => {
                let yes = yes.assembled();
                out.push(plain(LOAD, low(*argument)));
                out.push(branch(IF_EQUAL, 0, 0, 2));
                out.push(plain(LOAD, low(*argument) + 4));
                out.push(branch(IF_EQUAL, 0, length(&yes), 0));
                out.extend(yes);
                no.assemble(out);
            }
        }
    }

    fn assembled(&self) -> Vec<Instruction> {
        let mut out = Vec::new();
        self.assemble(&mut out);
        out
    }
}

/// Assembles a table: calls that are not in it get the `otherwise` verdict, other architectures are killed.
///
/// The x32 calls have numbers above all others, so they get `otherwise` as well.
pub(crate) fn program(table: &BTreeMap<u32, Rule>, otherwise: Verdict) -> Vec<Instruction> {
    let mut out = vec![
        plain(LOAD, ARCHITECTURE),
        branch(IF_EQUAL, AUDIT_ARCH_X86_64, 1, 0),
        plain(RETURN, Verdict::Kill.code()),
        plain(LOAD, NUMBER),
    ];
    out.extend(search(&ranges(table, otherwise)));
    out
}

/// Cuts all numbers into ranges of the same rule: the first number of each.
fn ranges(table: &BTreeMap<u32, Rule>, otherwise: Verdict) -> Vec<(u32, Rule)> {
    let mut ranges: Vec<(u32, Rule)> = Vec::new();
    let mut push = |start: u32, rule: &Rule| {
        // Rules that load an argument overwrite the number, but they end in a return, so ranges of them may merge.
        if ranges.last().is_none_or(|(_, last)| last != rule) {
            ranges.push((start, rule.clone()));
        }
    };
    let rest = Rule::Always(otherwise);
    let mut next = 0;
    for (number, rule) in table {
        if *number > next {
            push(next, &rest);
        }
        push(*number, rule);
        next = number + 1;
    }
    push(next, &rest);
    ranges
}

fn search(ranges: &[(u32, Rule)]) -> Vec<Instruction> {
    let (left, right) = match ranges {
        [] => return Vec::new(),
        [(_, rule)] => return rule.assembled(),
        _ => ranges.split_at(ranges.len() / 2),
    };
    let middle = right.first().map_or(0, |(start, _)| *start);
    let (left, right) = (search(left), search(right));
    let mut out = match u8::try_from(left.len()) {
        Ok(distance) => vec![branch(IF_AT_LEAST, middle, distance, 0)],
        Err(_) => vec![branch(IF_AT_LEAST, middle, 0, 1), plain(JUMP, left.len() as u32)],
    };
    out.extend(left);
    out.extend(right);
    out
}

const fn low(argument: u32) -> u32 {
    16 + 8 * argument
}

const fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

const fn branch(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn length(block: &[Instruction]) -> u8 {
    u8::try_from(block.len()).expect("the rules of the table are short")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Runs a program as the kernel would, and gives the verdict's code and the number of steps.
    pub(crate) fn run(program: &[Instruction], architecture: u32, number: u32, args: [u64; 6]) -> (u32, usize) {
        let mut data = Vec::new();
        data.extend(number.to_ne_bytes());
        data.extend(architecture.to_ne_bytes());
        data.extend(0_u64.to_ne_bytes());
        args.iter().for_each(|arg| data.extend(arg.to_ne_bytes()));
        let (mut pc, mut value, mut steps) = (0, 0_u32, 0);
        loop {
            let Instruction { code, jt, jf, k } = program[pc];
            pc += 1;
            steps += 1;
            let condition = match code {
                LOAD => {
                    let at = k as usize;
                    value = u32::from_ne_bytes(data[at..at + 4].try_into().expect("four bytes"));
                    continue;
                }
                AND => {
                    value &= k;
                    continue;
                }
                JUMP => {
                    pc += k as usize;
                    continue;
                }
                RETURN => return (k, steps),
                IF_EQUAL => value == k,
                IF_AT_LEAST => value >= k,
                IF_BITS => value & k != 0,
                other => panic!("unknown instruction {other:#x}"),
            };
            pc += usize::from(if condition { jt } else { jf });
        }
    }

    pub(crate) fn verdict(program: &[Instruction], number: i64, args: [u64; 6]) -> u32 {
        run(program, AUDIT_ARCH_X86_64, number as u32, args).0
    }

    proptest::proptest! {
        #[test]
        fn every_number_gets_the_rule_of_the_table(
            table in proptest::collection::btree_map(0_u32..600, 0_i32..4, 0..200),
            numbers in proptest::collection::vec(0_u32..700, 50),
        ) {
            let rules = table.iter().map(|(nr, errno)| (*nr, Rule::Always(Verdict::Errno(*errno)))).collect();
            let program = program(&rules, Verdict::Errno(libc::ENOSYS));
            for number in numbers {
                let expected = table.get(&number).map_or(libc::ENOSYS, |errno| *errno);
                let (code, steps) = run(&program, AUDIT_ARCH_X86_64, number, [0; 6]);
                proptest::prop_assert_eq!(code, Verdict::Errno(expected).code());
                proptest::prop_assert!(steps < 32, "the search takes {} steps", steps);
            }
        }
    }

    #[test]
    fn a_pointer_is_seen_in_its_high_half_too() {
        let rule = Rule::Pointer {
            argument: 4,
            yes: Box::new(Rule::Always(Verdict::Notify)),
            no: Box::new(Rule::Always(Verdict::Allow)),
        };
        let program = program(&[(1, rule)].into(), Verdict::Kill);
        for (pointer, expected) in [(0, Verdict::Allow), (1, Verdict::Notify), (1 << 40, Verdict::Notify)] {
            assert_eq!(verdict(&program, 1, [0, 0, 0, 0, pointer, 0]), expected.code());
        }
    }

    #[test]
    fn another_architecture_is_killed() {
        let program = program(&BTreeMap::new(), Verdict::Allow);
        assert_eq!(run(&program, 0x4000_0003, 0, [0; 6]).0, Verdict::Kill.code());
    }
}
