//! What a load run would do, for people: `ringlog load --dry-run`.

use crate::client::Isolation;
use crate::load::{Consume, From, Pace, Plan, Search, grouped};

use super::failure::Failure;
use super::load_scenario::{Aim, Scenario};
use super::output::Rows;

/// The keys, and what follows from them.
pub(super) fn print_plan(keys: &Scenario, plan: &Plan, aim: &Aim) -> Result<(), Failure> {
    let mut rows = Rows::new(&["key", "value"]);
    for (key, text) in keys.texts() {
        rows.push(vec![key, text.unwrap_or_else(|| "-".to_owned())]);
    }
    rows.print()?;
    let mut rows = Rows::new(&["planned", ""]);
    for (what, figure) in planned(plan, aim) {
        rows.push(vec![what, figure]);
    }
    rows.print()
}

fn planned(plan: &Plan, aim: &Aim) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut row = |what: &str, figure: String| rows.push((what.to_owned(), figure));
    row("brokers", plan.bootstrap.join(", "));
    let (topics, idle_topics) = plan.topics_used();
    let names: Vec<String> = plan.topics.names().into_iter().take(topics).collect();
    row("topics", names.join(", "));
    let (warm_up, seconds) = (plan.warm_up.as_secs_f64(), plan.duration.as_secs_f64());
    match aim {
        Aim::Measure => row(
            "time",
            format!("{warm_up} s of warm-up, {seconds} s measured"),
        ),
        Aim::FindMax(search) => push_search(&mut row, plan, search),
    }
    let mean = plan.value_bytes_mean();
    row(
        "value",
        format!(
            "{mean:.1} bytes on average, {} at most",
            plan.value_bytes_max()
        ),
    );
    match (aim, &plan.pace, plan.pace.rate(plan.duration)) {
        (Aim::FindMax(_), ..) => {}
        (_, _, Some(rate)) => {
            row(
                "records/s",
                format!("{} on average while measured", grouped(rate)),
            );
            row(
                "measured",
                format!(
                    "{} records, {:.1} MB of values",
                    grouped(rate * seconds),
                    rate * seconds * mean / 1e6
                ),
            );
        }
        (_, Pace::Silent, None) => row("records/s", "none but a backlog".to_owned()),
        (_, _, None) => row("records/s", "as many as the windows allow".to_owned()),
    }
    row(
        "connections",
        format!(
            "{} x {} to each broker, on {}; {} idle",
            counted(plan.producers, "producer"),
            plan.connections,
            counted(plan.threads, "thread"),
            plan.idle.map_or(0, |idle| idle.connections)
        ),
    );
    if let Some(count) = plan.idle_partitions {
        let name = plan.topics.idle_name();
        row("idle partitions", format!("{count} of {name}"));
    }
    if let Some(consume) = &plan.consume {
        row("readers", readers(consume, topics + idle_topics));
    }
    for hook in &plan.observe.hooks {
        row(
            &format!("at {:?}", hook.at),
            format!(
                "{}, killed if it takes longer than {:?}",
                hook.command, plan.observe.hook_limit
            ),
        );
    }
    rows
}

fn push_search(row: &mut impl FnMut(&str, String), plan: &Plan, search: &Search) {
    row("looks for", search.wanted());
    row(
        "trials",
        format!(
            "{} or more, the first of them in the closed loop, each with {} s of warm-up and {} s measured; the best is reported",
            search.trials_least(),
            plan.warm_up.as_secs_f64(),
            plan.duration.as_secs_f64()
        ),
    );
}

/// - `topics`: how many of them are read.
fn readers(consume: &Consume, topics: usize) -> String {
    let mut parts = vec![match consume.groups {
        0 => format!("every partition of {}", counted(topics, "topic")),
        groups => format!(
            "{} of {} for each of {} ({} protocol)",
            counted(groups, "group"),
            counted(consume.members, "member"),
            counted(topics, "topic"),
            consume.protocol
        ),
    }];
    parts.push(match (consume.from, consume.backlog_bytes) {
        (_, bytes @ 1..) => format!("behind a backlog of {:.1} MB", bytes as f64 / 1e6),
        (From::Tail, 0) => "from the tail".to_owned(),
        (From::Start, 0) => "from the start".to_owned(),
    });
    parts.push(format!("on {}", counted(consume.threads, "thread")));
    if consume.isolation == Isolation::Committed {
        parts.push("committed records only".to_owned());
    }
    if let Some(rate) = consume.rate {
        parts.push(format!("{} records/s each at most", grouped(rate)));
    }
    parts.join(", ")
}

fn counted(count: usize, what: &str) -> String {
    super::output::counted(count as u64, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let scenario = Scenario::parse(text).unwrap();
        let (aim, plan) = (scenario.aim().unwrap(), scenario.plan().unwrap());
        let rows = planned(&plan, &aim).into_iter();
        rows.map(|(what, figure)| format!("{what}: {figure}\n"))
            .collect()
    }

    #[test]
    fn a_plan_is_told_in_words() {
        let text = "rate = \"1k\"\ngroups = 2\ngroup-members = 3\ngroup-protocol = \"consumer\"\ntopics = 2\n\
            isolation = \"committed\"\nconsume-rate = 500\nat-limit = \"9s\"\nat = [{ at = \"1500ms\", run = \"kill 7\" }]";
        let shown = shown(text);
        for wanted in [
            "readers: 2 groups of 3 members for each of 2 topics (consumer protocol), from the tail, on 1 thread, \
             committed records only, 500 records/s each at most\n",
            "at 1.5s: kill 7, killed if it takes longer than 9s\n",
            "measured: 10,000 records",
            "connections: 1 producer x 1 to each broker, on 1 thread; 0 idle\n",
        ] {
            assert!(shown.contains(wanted), "{wanted}: {shown}");
        }
        assert!(!shown.contains('{'), "{shown}");
    }

    #[test]
    fn a_search_is_told_with_its_trials_instead_of_a_rate() {
        let shown = shown("find-max = \"e2e-p99=10ms\"\nconsume = \"tail\"");
        let goal =
            "looks for: the highest rate with p99 end to end of at most 10 ms, to within 5 %\n";
        assert!(shown.contains(goal), "{shown}");
        assert!(
            shown.contains("closed loop, each with 1 s of warm-up and 10 s measured"),
            "{shown}"
        );
        assert!(!shown.contains("records/s:"), "{shown}");
        let drain = self::shown("backlog = \"1m\"");
        assert!(
            drain.contains("every partition of 1 topic, behind a backlog of 1.0 MB, on 1 thread"),
            "{drain}"
        );
    }
}
