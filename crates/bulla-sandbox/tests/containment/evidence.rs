//! What a run says of itself: refusals, programs, ends, and errors that tell the way out.

use std::time::Duration;

use bulla_model::{Fault as _, Kind};
use bulla_sandbox::{Error, Exit, Outcome, RefusalKind};

use crate::{
    Case,
    world::{World, chain, succeeded},
};

pub(crate) const CASES: &[Case] = &[
    ("a_refused_connection_is_recorded", a_refused_connection_is_recorded),
    ("the_first_refusal_ends_a_run_that_asks_for_it", the_first_refusal_ends_a_run_that_asks_for_it),
    ("a_refused_datagram_is_recorded", a_refused_datagram_is_recorded),
    ("a_look_up_is_recorded_and_finds_nothing", a_look_up_is_recorded_and_finds_nothing),
    ("localhost_is_found_without_a_record", localhost_is_found_without_a_record),
    ("the_loopback_inside_works", the_loopback_inside_works),
    ("started_programs_are_recorded", started_programs_are_recorded),
    ("tried_paths_are_not_started_programs", tried_paths_are_not_started_programs),
    ("codes_and_signals_are_told_apart", codes_and_signals_are_told_apart),
    ("a_missing_program_is_an_error_of_the_step", a_missing_program_is_an_error_of_the_step),
    ("a_missing_layer_names_its_path", a_missing_layer_names_its_path),
    ("usage_is_measured", usage_is_measured),
    ("a_missing_working_directory_is_an_error_of_the_spec", a_missing_working_directory_is_an_error_of_the_spec),
    ("long_words_are_cut_and_marked", long_words_are_cut_and_marked),
    ("a_program_started_by_its_own_link_is_recorded", a_program_started_by_its_own_link_is_recorded),
    ("this_host_is_diagnosed", this_host_is_diagnosed),
    ("runs_at_the_same_time_do_not_mix", runs_at_the_same_time_do_not_mix),
];

fn only_refusal(outcome: &Outcome) -> (RefusalKind, &str) {
    assert_eq!(outcome.refusals.len(), 1, "{:?}", outcome.refusals);
    let refusal = &outcome.refusals[0];
    assert_eq!(refusal.executable, "/bin/probe");
    assert!(refusal.command_line.starts_with("/bin/probe probe "), "{refusal:?}");
    assert!(refusal.pid > 1 && refusal.pid < 10, "a pid as it is inside: {refusal:?}");
    assert!(refusal.at < Duration::from_secs(60));
    (refusal.kind, refusal.target.as_str())
}

fn a_refused_connection_is_recorded(world: &World) {
    for address in ["192.0.2.1:443", "[2001:db8::1]:443", "169.254.169.254:80"] {
        let ran = world.run(&["connect", address]);
        succeeded(&ran);
        assert_eq!(ran.stdout.trim(), libc::ENETUNREACH.to_string(), "{address}");
        assert_eq!(only_refusal(&ran.outcome), (RefusalKind::Connect, address));
        assert!(ran.outcome.usage.wall < Duration::from_secs(60), "at once");
    }
}

fn the_first_refusal_ends_a_run_that_asks_for_it(world: &World) {
    let tries: [(&[&str], &str); 2] = [
        (&["connect-then-wait", "192.0.2.1:443"], "192.0.2.1:443"),
        (&["look-up-then-wait", "mirror.example"], "mirror.example"),
    ];
    for (words, target) in tries {
        let ran = world.run_with(words, |request| request.stop_on_refusal = true);
        assert_eq!(ran.outcome.exit, Exit::Refused, "{words:?}");
        assert_eq!(ran.outcome.refusals.first().map(|refusal| refusal.target.as_str()), Some(target));
        assert!(ran.outcome.usage.wall < Duration::from_secs(60), "at once: {:?}", ran.outcome.usage.wall);
    }
    let ran = world.run_with(&["connect", "127.0.0.1:1"], |request| request.stop_on_refusal = true);
    assert_eq!(ran.outcome.exit, Exit::Code(0), "what is not refused ends nothing");
}

fn a_refused_datagram_is_recorded(world: &World) {
    let ran = world.run(&["send", "192.0.2.1:53"]);
    succeeded(&ran);
    assert_eq!(ran.stdout.trim(), libc::ENETUNREACH.to_string());
    assert_eq!(only_refusal(&ran.outcome), (RefusalKind::Send, "192.0.2.1:53"));
}

fn a_look_up_is_recorded_and_finds_nothing(world: &World) {
    let ran = world.run(&["look-up", "mirror.example"]);
    succeeded(&ran);
    assert_eq!(ran.stdout.trim(), "false");
    assert_eq!(only_refusal(&ran.outcome), (RefusalKind::Lookup, "mirror.example"));
    // Without an answer each try would take the second that the resolver waits for one, however fast the machine is.
    let answered = |_| world.run(&["look-up", "mirror.example"]).outcome.usage.wall < Duration::from_secs(1);
    assert!((0..10).any(answered), "the answer comes at once");
}

fn localhost_is_found_without_a_record(world: &World) {
    let ran = world.run(&["look-up", "localhost"]);
    assert_eq!(ran.stdout.trim(), "true");
    assert!(ran.outcome.refusals.is_empty(), "{:?}", ran.outcome.refusals);
}

fn the_loopback_inside_works(world: &World) {
    let ran = world.run(&["serve"]);
    succeeded(&ran);
    assert_eq!(ran.stdout.trim(), "0");
    assert!(ran.outcome.refusals.is_empty());
}

fn started_programs_are_recorded(world: &World) {
    let ran = world.run(&["start", "/bin/probe", "probe", "exit", "0"]);
    succeeded(&ran);
    let executed: Vec<_> =
        ran.outcome.executed.iter().map(|one| (one.executable.as_str(), one.argv.join(" "))).collect();
    let expected = [
        ("/bin/probe", "/bin/probe probe start /bin/probe probe exit 0".to_owned()),
        ("/bin/probe", "/bin/probe probe exit 0".to_owned()),
    ];
    assert_eq!(executed, expected);
    assert!(ran.outcome.executed.iter().all(|one| one.pid > 1 && one.times == 1 && !one.argv_cut));
}

fn tried_paths_are_not_started_programs(world: &World) {
    let ran = world.run_with(&["exit", "0"], |request| {
        request.argv[0] = "probe".into();
        request.env.insert("PATH".to_owned(), "/nowhere:/etc:/bin".to_owned());
    });
    succeeded(&ran);
    let executed: Vec<_> = ran.outcome.executed.iter().map(|one| one.executable.as_str()).collect();
    assert_eq!(executed, ["/bin/probe"]);
}

fn codes_and_signals_are_told_apart(world: &World) {
    assert_eq!(world.run(&["exit", "7"]).outcome.exit, Exit::Code(7));
    assert_eq!(world.run(&["exit", "137"]).outcome.exit, Exit::Code(137));
    assert_eq!(world.run(&["signal", "9"]).outcome.exit, Exit::Signal(9));
}

fn a_missing_program_is_an_error_of_the_step(world: &World) {
    let error = world.try_run(&[], |request| request.argv = vec!["gcc".into()]).err().expect("it fails");
    assert!(matches!(&error, Error::Execute { program, .. } if program == "gcc"), "{}", chain(&error));
    assert_eq!(error.kind(), Kind::Step);
    assert!(error.hints()[0].contains("gcc"));
}

fn a_missing_layer_names_its_path(world: &World) {
    let error = world.try_run(&["exit", "0"], |request| {
        request.binds.push(bulla_sandbox::Bind { source: "/no/such".into(), target: "/x".into(), writable: false });
    });
    let text = chain(&error.err().expect("it fails"));
    assert!(text.contains("/no/such"), "{text}");
}

fn usage_is_measured(world: &World) {
    let ran = world.run(&["print", "104857600"]);
    let usage = ran.outcome.usage;
    assert!(usage.cpu > Duration::ZERO && usage.wall > Duration::ZERO);
    assert!(usage.max_rss > 500_000 && usage.max_rss < 200 << 20, "{usage:?}");
    assert_eq!(ran.outcome.isolation.namespaces.len(), 7);
}

fn runs_at_the_same_time_do_not_mix(world: &World) {
    std::thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                for round in 0..5 {
                    let code = (number * 8 + round).to_string();
                    let ran = world.run(&["start", "/bin/probe", "probe", "exit", &code]);
                    assert_eq!(ran.outcome.exit, Exit::Code(number * 8 + round));
                    assert_eq!(ran.outcome.executed.len(), 2);
                }
            });
        }
    });
}

fn this_host_is_diagnosed(world: &World) {
    let place = world.scratch();
    let findings = bulla_sandbox::diagnose(place.path(), &bulla_sandbox::Options::default());
    let missing: Vec<_> = findings.iter().filter(|one| one.state == bulla_sandbox::State::Missing).collect();
    assert!(missing.is_empty(), "the other tests ran, so nothing is missing: {missing:#?}");
    assert!(findings.iter().any(|one| one.what == "overlay"));
    assert_eq!(std::fs::read_dir(place.path()).expect("the folder").count(), 0, "the trial leaves nothing");
}

fn a_missing_working_directory_is_an_error_of_the_spec(world: &World) {
    let result = world.try_run(&["exit", "0"], |request| request.cwd = "/src/app".into());
    let error = result.err().expect("it fails");
    assert_eq!(error.kind(), Kind::Spec, "{}", chain(&error));
    assert!(chain(&error).starts_with("setting up the sandbox: entering the working directory: "), "{}", chain(&error));
}

fn long_words_are_cut_and_marked(world: &World) {
    let long = "x".repeat(5000);
    let many = vec!["y"; 100];
    for words in [vec![long.as_str()], many] {
        let ran = world.run(&[&["start", "/bin/probe", "probe", "exit", "0"], words.as_slice()].concat());
        let first = &ran.outcome.executed[0];
        assert!(first.argv_cut, "{} words", first.argv.len());
        assert!(first.argv.len() <= 64 && first.argv.iter().map(String::len).sum::<usize>() <= 4096);
    }
}

fn a_program_started_by_its_own_link_is_recorded(world: &World) {
    let ran = world.run(&["start", "/proc/self/exe", "probe", "exit", "0"]);
    succeeded(&ran);
    let executed: Vec<_> = ran.outcome.executed.iter().map(|one| one.executable.as_str()).collect();
    assert_eq!(executed, ["/bin/probe", "/bin/probe"]);
}
