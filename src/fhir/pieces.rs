//! The body of a file as pieces, decompressed on the way, each small whatever the server sends.

use std::collections::VecDeque;
use std::io::Write;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures::stream::{self, BoxStream, StreamExt};
use reqwest::Response;

use super::places::Permit;
use crate::core::wire::{BrokenOff, Pieces};

/// So much is decompressed at once: gzip swells to a thousandfold at most.
const SIP: usize = 4 << 10;

struct Body {
    bytes: BoxStream<'static, reqwest::Result<Bytes>>,
    gzip: Option<MultiGzDecoder<Vec<u8>>>,
    /// Compressed, not yet taken.
    sips: VecDeque<Bytes>,
    ended: bool,
    /// Given back with the body.
    _permit: Option<Permit>,
}

/// The pieces of a body. The place for the download is held as long as they are.
pub fn of(response: Response, gzip: bool, permit: Option<Permit>) -> Pieces {
    let body = Body {
        bytes: response.bytes_stream().boxed(),
        gzip: gzip.then(|| MultiGzDecoder::new(Vec::new())),
        sips: VecDeque::new(),
        ended: false,
        _permit: permit,
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
            match self.bytes.next().await {
                Some(Ok(mut chunk)) if self.gzip.is_some() => {
                    while !chunk.is_empty() {
                        self.sips.push_back(chunk.split_to(SIP.min(chunk.len())));
                    }
                }
                Some(Ok(chunk)) => return Some(Ok(chunk)),
                Some(Err(_)) => {
                    self.ended = true;
                    return Some(Err(BrokenOff));
                }
                None => {
                    self.ended = true;
                    return self.end();
                }
            }
        }
    }

    fn decompress(&mut self, sip: &Bytes) -> Result<Bytes, BrokenOff> {
        let Some(gzip) = &mut self.gzip else { return Ok(sip.clone()) };
        let taken = gzip.write_all(sip).and_then(|()| gzip.flush());
        if taken.is_err() {
            self.ended = true;
            return Err(BrokenOff);
        }
        Ok(Bytes::from(std::mem::take(gzip.get_mut())))
    }

    /// What is compressed says itself where it ends; anything less has broken off.
    fn end(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        let gzip = self.gzip.as_mut()?;
        match gzip.try_finish() {
            Ok(()) => {
                let rest = std::mem::take(gzip.get_mut());
                (!rest.is_empty()).then(|| Ok(Bytes::from(rest)))
            }
            Err(_) => Some(Err(BrokenOff)),
        }
    }
}
