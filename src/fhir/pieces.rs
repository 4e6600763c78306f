//! The body of a file as a stream of small pieces, decompressed on the fly.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Instant;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures::stream::{self, BoxStream, StreamExt};
use reqwest::Response;

use super::download_limits::DownloadPermit;
use crate::ports::{BrokenOff, Pieces};

/// The number of compressed bytes that are decompressed at once. gzip expands them at most about a thousand times.
const SIP: usize = 4 << 10;

/// What the head of a response says about its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyHead {
    /// The body is compressed with gzip.
    pub gzip: bool,
    /// Whether the body may be empty even if it is marked as compressed, because it was requested without compression.
    pub may_be_empty: bool,
    /// The length of the body in bytes, before decompression, if the response is a range.
    pub length: Option<u64>,
}

struct Body {
    bytes: BoxStream<'static, reqwest::Result<Bytes>>,
    head: BodyHead,
    /// The bytes of the body so far, before decompression.
    taken: u64,
    gzip: Option<MultiGzDecoder<Vec<u8>>>,
    /// Compressed pieces that are still to be decompressed.
    sips: VecDeque<Bytes>,
    ended: bool,
    /// The download permit, released when the body is dropped.
    permit: DownloadPermit,
}

/// The body of a response as a stream of pieces. The stream holds the download permit until it is dropped.
pub fn of(response: Response, head: BodyHead, permit: DownloadPermit) -> Pieces {
    let body = Body {
        bytes: response.bytes_stream().boxed(),
        head,
        taken: 0,
        gzip: head.gzip.then(|| MultiGzDecoder::new(Vec::new())),
        sips: VecDeque::new(),
        ended: false,
        permit,
    };
    stream::unfold(body, |mut body| async move { body.next().await.map(|piece| (piece, body)) }).boxed()
}

impl Body {
    async fn next(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        loop {
            if self.ended {
                return None;
            }
            if let Some(sip) = self.sips.pop_front() {
                match self.decompress(&sip) {
                    Ok(piece) if piece.is_empty() => continue,
                    piece => return Some(piece),
                }
            }
            let asked = Instant::now();
            let next = self.bytes.next().await;
            if let Some(Ok(chunk)) = &next
                && !self.permit.keeps_pace(chunk.len(), asked.elapsed())
            {
                self.ended = true;
                return Some(Err(BrokenOff::Transfer));
            }
            match next {
                Some(Ok(chunk)) if self.is_too_long(&chunk) => {
                    self.ended = true;
                    return Some(Err(BrokenOff::Transfer));
                }
                Some(Ok(mut chunk)) if self.gzip.is_some() => {
                    while !chunk.is_empty() {
                        self.sips.push_back(chunk.split_to(SIP.min(chunk.len())));
                    }
                }
                Some(Ok(chunk)) => return Some(Ok(chunk)),
                Some(Err(_)) => {
                    self.ended = true;
                    return Some(Err(BrokenOff::Transfer));
                }
                None => {
                    self.ended = true;
                    return self.end();
                }
            }
        }
    }

    /// Counts the bytes of the next chunk. Returns whether the body is now longer than its range.
    fn is_too_long(&mut self, chunk: &Bytes) -> bool {
        self.taken += chunk.len() as u64;
        self.head.length.is_some_and(|length| self.taken > length)
    }

    fn decompress(&mut self, sip: &Bytes) -> Result<Bytes, BrokenOff> {
        let Some(gzip) = &mut self.gzip else { return Ok(sip.clone()) };
        let taken = gzip.write_all(sip).and_then(|()| gzip.flush());
        if taken.is_err() {
            self.ended = true;
            return Err(BrokenOff::Decoding);
        }
        Ok(Bytes::from(std::mem::take(gzip.get_mut())))
    }

    /// Ends the body. A body that is shorter than its range was broken off. Compressed data mark their own
    /// end, so a body without that mark cannot be decompressed.
    fn end(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        if self.head.length.is_some_and(|length| self.taken < length) {
            return Some(Err(BrokenOff::Transfer));
        }
        if self.taken == 0 && self.head.may_be_empty {
            return None;
        }
        let gzip = self.gzip.as_mut()?;
        match gzip.try_finish() {
            Ok(()) => {
                let rest = std::mem::take(gzip.get_mut());
                (!rest.is_empty()).then(|| Ok(Bytes::from(rest)))
            }
            Err(_) => Some(Err(BrokenOff::Decoding)),
        }
    }
}
