//! The native wire's messages: one file for each, from a frame to what the shard does for it, and back.
//!
//! They go through the same doors as Kafka's requests: [`Shard::produce`], [`Shard::read`], the image. What is refused is
//! refused with Kafka's codes.

mod context;
mod metadata;
mod offsets;
mod produce;
mod producer_ids;
mod stream;

use crate::protocol::ErrorCode;
use crate::wire::{CreditsV1, Frame, FrameError, Kind, SubscribeV1, UnsubscribeV1};

pub use context::{NativeContext, NativeFrame, NativeWork, refusal};
pub use stream::{Credits, Pushes, Stream};

#[cfg(doc)]
use crate::shard::Shard;

/// What a frame begins.
pub enum Started {
    /// A request's work; its answer leaves in the order of the requests.
    Work(NativeWork),
    Subscribe(Stream),
    /// More bytes of a stream may come.
    Credits {
        stream: u64,
        bytes: u64,
    },
    Unsubscribe {
        stream: u64,
    },
}

/// Begins the work of a frame.
///
/// - Everything a Produce appends on this shard is appended, and the rest is on its way, when this returns.
/// - A frame that cannot be served begins the work of saying so.
pub fn start(context: &std::rc::Rc<NativeContext>, frame: Frame) -> Started {
    match try_start(context, &frame) {
        Ok(started) => started,
        Err((code, why)) => context.refuse(&frame, code, why),
    }
}

type Refusal = (ErrorCode, String);

fn try_start(context: &std::rc::Rc<NativeContext>, frame: &Frame) -> Result<Started, Refusal> {
    if !context.agreed.allows(frame.kind, frame.version) {
        let name = Kind::from_u16(frame.kind).map_or("unknown", Kind::name);
        let why = format!(
            "kind {} ({name}), version {} is not spoken on this connection",
            frame.kind, frame.version
        );
        return Err((ErrorCode::UnsupportedVersion, why));
    }
    match Kind::from_u16(frame.kind) {
        Some(Kind::ProduceRequest) => produce::start(context, frame).map(Started::Work),
        Some(Kind::MetadataRequest) => metadata::start(context, frame).map(Started::Work),
        Some(Kind::OffsetsRequest) => offsets::start(context, frame).map(Started::Work),
        Some(Kind::ProducerIdsRequest) => producer_ids::start(context, frame).map(Started::Work),
        Some(Kind::Subscribe) => {
            let request = frame.read::<SubscribeV1>().map_err(malformed)?;
            Stream::new(context, frame.correlation, request).map(Started::Subscribe)
        }
        Some(Kind::Credits) => {
            let credits = frame.read::<CreditsV1>().map_err(malformed)?;
            Ok(Started::Credits {
                stream: credits.stream.to_native(),
                bytes: credits.bytes.to_native(),
            })
        }
        Some(Kind::Unsubscribe) => {
            let request = frame.read::<UnsubscribeV1>().map_err(malformed)?;
            Ok(Started::Unsubscribe {
                stream: request.stream.to_native(),
            })
        }
        kind => {
            let name = kind.map_or("unknown", Kind::name);
            let why = format!("{name} is nothing that a broker is sent after the handshake");
            Err((ErrorCode::InvalidRequest, why))
        }
    }
}

fn malformed(error: FrameError) -> Refusal {
    (ErrorCode::InvalidRequest, error.to_string())
}

/// What isolation a number stands for.
fn isolation(number: u8) -> Result<crate::partition::Isolation, Refusal> {
    match number {
        0 => Ok(crate::partition::Isolation::ReadUncommitted),
        1 => Ok(crate::partition::Isolation::ReadCommitted),
        other => Err((
            ErrorCode::InvalidRequest,
            format!("isolation {other} is none: 0 is read uncommitted, 1 read committed"),
        )),
    }
}
