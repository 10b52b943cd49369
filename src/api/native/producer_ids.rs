//! ProducerIdsRequest: ids for idempotent producers.

use std::rc::Rc;

use super::context::{NativeContext, NativeWork};
use super::{Refusal, malformed};
use crate::protocol::ErrorCode;
use crate::wire::{Frame, ProducerIdsRequestV1, ProducerIdsResponseV1};

/// Ids that one request may ask for: a block holds as many (KIP-730).
const COUNT_MAX: u16 = 1_000;

pub(super) fn start(context: &Rc<NativeContext>, frame: &Frame) -> Result<NativeWork, Refusal> {
    let request = frame.read::<ProducerIdsRequestV1>().map_err(malformed)?;
    let count = request.count.to_native();
    if !(1..=COUNT_MAX).contains(&count) {
        let why = format!("{count} producer ids are asked for, and may be 1 to {COUNT_MAX}");
        return Err((ErrorCode::InvalidRequest, why));
    }
    let (context, correlation) = (context.clone(), frame.correlation);
    Ok(Box::pin(async move {
        let mut response = ProducerIdsResponseV1 {
            error: ErrorCode::None.code(),
            ids: Vec::with_capacity(count as usize),
        };
        for _ in 0..count {
            match context.shard.next_producer_id().await {
                Ok(id) => response.ids.push(id.0),
                Err(error) => {
                    response.error = error.code.code();
                    response.ids.clear();
                    break;
                }
            }
        }
        context.answer(correlation, &response)
    }))
}
