//! The body of a file while it is sent: counted, slowed down, cut.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Body, Bytes, Frame};
use tokio::time::Sleep;

use crate::content::{Content, to_u64};
use crate::stats::Stats;

/// A part of a file on its way.
#[derive(Debug)]
pub(crate) struct Sending {
    content: Content,
    stats: Arc<Stats>,
    at: u64,
    end: u64,
    /// Where the connection breaks.
    breaks_at: Option<u64>,
    /// Which byte is changed.
    changes_at: Option<u64>,
    pace: Option<Pace>,
    gzip: Option<GzEncoder<Vec<u8>>>,
    broken: bool,
}

#[derive(Debug)]
struct Pace {
    sleep: Pin<Box<Sleep>>,
    each: usize,
    every: Duration,
}

/// How a part of a file is sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    /// Where the connection breaks.
    pub(crate) breaks_at: Option<u64>,
    /// Whether one byte is changed.
    pub(crate) wrong: bool,
    /// Bytes a second.
    pub(crate) trickle: Option<u64>,
    /// Whether it is compressed.
    pub(crate) gzip: bool,
}

impl Sending {
    pub(crate) fn new(content: Content, stats: Arc<Stats>, from: u64, end: u64, manner: Manner) -> Self {
        let pace = manner.trickle.map(|rate| {
            // Twenty steps a second, but at least a byte each.
            let each = usize::try_from((rate / 20).max(1)).unwrap_or(usize::MAX);
            let every = Duration::from_millis(1000 * to_u64(each) / rate.max(1));
            Pace { sleep: Box::pin(tokio::time::sleep(Duration::ZERO)), each, every }
        });
        let gzip = manner.gzip.then(|| GzEncoder::new(Vec::new(), Compression::fast()));
        let changes_at = manner.wrong.then(|| content.changeable());
        Self {
            content,
            stats,
            at: from,
            end,
            breaks_at: manner.breaks_at,
            changes_at,
            pace,
            gzip,
            broken: false,
        }
    }

    /// The next bytes of the file itself.
    fn next(&mut self) -> Vec<u8> {
        let end = self.breaks_at.unwrap_or(self.end).min(self.end);
        let mut bytes = self.content.read(self.at);
        bytes.truncate(usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX));
        if let Some(pace) = &self.pace {
            bytes.truncate(pace.each);
        }
        // A letter near the end of the first line gets another case: the JSON stays right.
        if let Some(changed) = self.changes_at
            && let Some(at) = changed.checked_sub(self.at).and_then(|at| usize::try_from(at).ok())
            && let Some(byte) = bytes.get_mut(at)
        {
            *byte ^= 0x20;
        }
        self.at += to_u64(bytes.len());
        self.stats.sent(to_u64(bytes.len()));
        bytes
    }

    fn compressed(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(mut encoder) = self.gzip.take() else { return Ok(None) };
        loop {
            let bytes = self.next();
            if bytes.is_empty() {
                return encoder.finish().map(Some);
            }
            encoder.write_all(&bytes)?;
            if self.pace.is_some() {
                encoder.flush()?;
            }
            if !encoder.get_ref().is_empty() {
                let ready = std::mem::take(encoder.get_mut());
                self.gzip = Some(encoder);
                return Ok(Some(ready));
            }
        }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if this.broken {
            return Poll::Ready(None);
        }
        if let Some(pace) = &mut this.pace {
            std::task::ready!(pace.sleep.as_mut().poll(cx));
            let next = tokio::time::Instant::now() + pace.every;
            pace.sleep.as_mut().reset(next);
        }
        if this.breaks_at.is_some_and(|at| this.at >= at) && this.at < this.end {
            // What was sent must have left before the connection is dropped.
            if this.pace.is_none() {
                let every = Duration::from_millis(30);
                let sleep = Box::pin(tokio::time::sleep(every));
                this.pace = Some(Pace { sleep, each: 1, every });
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            this.broken = true;
            return Poll::Ready(Some(Err(io::Error::other("the file breaks off here on purpose"))));
        }
        if this.gzip.is_some() {
            let broken_off = this.breaks_at.is_some();
            return Poll::Ready(match this.compressed() {
                Ok(Some(mut bytes)) if broken_off && this.gzip.is_none() => {
                    // The stream must not get its proper end, but what comes before it leaves.
                    bytes.truncate(bytes.len().saturating_sub(16));
                    Some(Ok(Frame::data(Bytes::from(bytes))))
                }
                Ok(bytes) => {
                    if this.gzip.is_none() {
                        this.stats.completed();
                    }
                    bytes.map(|bytes| Ok(Frame::data(Bytes::from(bytes))))
                }
                Err(error) => Some(Err(error)),
            });
        }
        if this.at >= this.end {
            return Poll::Ready(None);
        }
        let bytes = this.next();
        if this.at >= this.end {
            this.stats.completed();
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(bytes)))))
    }
}
