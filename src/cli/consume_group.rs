//! `ringlog consume --group`: the same, as a member of a consumer group.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::client::{
    Assignor, AutoCreate, Cluster, ConsumerOptions, GroupConsumer, GroupEvent, GroupOptions,
    GroupProtocol, MemberOptions,
};

use super::args::duration;
use super::consume::{Consume, Printer};
use super::failure::Failure;

/// Reading as a member of a group
#[derive(Args, Debug)]
pub(super) struct GroupArgs {
    /// Share the topic with the other members of this group, begin where it has committed, and commit what was written
    #[arg(long, value_name = "GROUP", conflicts_with = "partitions")]
    pub group: Option<String>,

    /// How the members divide the partitions
    #[arg(long, requires = "group", default_value = "range")]
    assignor: Name,

    /// A name for this member that it keeps over restarts: it finds its partitions again
    #[arg(long, value_name = "NAME", requires = "group")]
    instance_id: Option<String>,

    /// Taken for dead after so long without a sign of life
    #[arg(long, value_name = "TIME", requires = "group", default_value = "45s", value_parser = duration)]
    session_timeout: Duration,
}

/// A classic group's way to divide.
#[derive(ValueEnum, Clone, Copy, Debug)]
enum Name {
    Range,
    CooperativeSticky,
}

impl GroupArgs {
    fn options(&self, group: &str, command: &Consume) -> GroupOptions {
        GroupOptions {
            member: MemberOptions {
                protocol: GroupProtocol::Classic,
                group: group.to_owned(),
                topic: command.topic.clone(),
                assignor: match self.assignor {
                    Name::Range => Assignor::Range,
                    Name::CooperativeSticky => Assignor::CooperativeSticky,
                },
                instance_id: self.instance_id.clone(),
                session_timeout: self.session_timeout,
                rebalance_timeout: REBALANCE_TIMEOUT,
            },
            start: command.from,
            commit_interval: COMMIT_INTERVAL,
            fetch: ConsumerOptions::default(),
        }
    }
}

/// Reads until there has been enough, or a signal comes; then leaves the group, whatever happened.
pub(super) async fn run(
    command: &Consume,
    group: &str,
    cluster: Rc<Cluster>,
) -> Result<(), Failure> {
    // A second signal ends the process at once.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, stop.clone())
            .and_then(|_| signal_hook::flag::register(signal, stop.clone()))
            .map_err(|error| Failure::io("signals", &error))?;
    }
    let topic = cluster.topic(&command.topic, AutoCreate::Forbid).await?;
    let partitions: Vec<i32> = topic.partitions.iter().map(|p| p.index).collect();
    let mut printer = Printer::open(command, &cluster, &partitions).await?;
    let mut consumer = GroupConsumer::new(cluster, command.group.options(group, command));
    let read = read(&mut consumer, &mut printer, &stop).await;
    let left = consumer.leave().await;
    read?;
    Ok(left?)
}

async fn read(
    consumer: &mut GroupConsumer,
    printer: &mut Printer<'_>,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    // Partitions that are not at their end, where there is one; and since when they are assigned.
    let (mut unfinished, mut assigned_at) = (None, Instant::now());
    while !stop.load(Ordering::Relaxed) && !printer.is_full() {
        match consumer.poll().await? {
            GroupEvent::Assigned(partitions) => {
                assigned_at = Instant::now();
                let mut left = partitions.clone();
                left.retain(|partition| !finish(consumer, printer, *partition));
                // Who is given nothing may be waiting for what others have to give up first.
                unfinished = (printer.has_ends() && !partitions.is_empty()).then_some(left);
            }
            GroupEvent::Records(fetched) => {
                let next = printer.write(&fetched)?;
                consumer.processed(fetched.partition, next);
                if finish(consumer, printer, fetched.partition)
                    && let Some(left) = &mut unfinished
                {
                    left.remove(&fetched.partition);
                }
            }
            GroupEvent::Idle => {}
        }
        let done = match &unfinished {
            Some(left) => left.is_empty(),
            None => printer.has_ends() && assigned_at.elapsed() > NOTHING_TO_READ,
        };
        if done {
            break;
        }
    }
    Ok(())
}

/// Stops reading a partition that has come to its end; whether it has.
fn finish(consumer: &mut GroupConsumer, printer: &Printer<'_>, partition: i32) -> bool {
    let next = consumer.next_offset(partition);
    let done = next.is_some_and(|next| printer.is_at_end(partition, next));
    if done {
        consumer.finish(partition);
    }
    done
}

/// How long a member with nothing to read waits for others to give something up, if it is to exit at the end.
const NOTHING_TO_READ: Duration = Duration::from_secs(10);
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(60);
