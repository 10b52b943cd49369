//! The shape that many requests share: topics by name, partitions in them, one answer each.

use std::future::Future;
use std::rc::Rc;

use crate::shard::{Replica, Shard};
use crate::types::Str;

/// Asks the owner of each partition, and gives the answers back in the shape of the request.
///
/// - `topics`: names, and for each partition its index and what is asked of it.
/// - `None`: the partition does not exist.
pub(super) async fn ask<A, T, F, W>(
    shard: &Rc<Shard>,
    topics: Vec<(Str, Vec<(i32, A)>)>,
    work: W,
) -> Vec<(Str, Vec<(i32, Option<T>)>)>
where
    A: Send + 'static,
    T: Send + 'static,
    F: Future<Output = T> + 'static,
    W: Fn(Rc<Shard>, Rc<Replica>, A) -> F + Clone + Send + 'static,
{
    let mut items = Vec::new();
    let mut shape = Vec::with_capacity(topics.len());
    {
        let image = shard.image();
        for (name, partitions) in topics {
            let found = image.topic(&name);
            let mut rows = Vec::with_capacity(partitions.len());
            for (index, argument) in partitions {
                let known =
                    found.filter(|topic| index >= 0 && (index as usize) < topic.partitions_count());
                rows.push((index, known.is_some()));
                if let Some(topic) = known {
                    items.push((topic.id, index, argument));
                }
            }
            shape.push((name, rows));
        }
    }
    let mut answers = shard.on_owners(items, work).await.into_iter();
    let mut row = |(index, known)| match known {
        true => (index, answers.next().expect("what is known was asked")),
        false => (index, None),
    };
    shape
        .into_iter()
        .map(|(name, rows)| (name, rows.into_iter().map(&mut row).collect()))
        .collect()
}
