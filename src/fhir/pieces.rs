//! The body of a file as a stream of small pieces, decompressed on the fly.

use std::collections::VecDeque;
use std::io::Write;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures::stream::{self, BoxStream, StreamExt};
use reqwest::Response;

use super::download_limits::DownloadPermit;
use crate::ports::{BrokenOff, Pieces};

/// How many compressed bytes are decompressed at once. gzip expands them to at most about a thousand times as
/// many.
const SIP: usize = 4 << 10;

struct Body {
    bytes: BoxStream<'static, reqwest::Result<Bytes>>,
    gzip: Option<MultiGzDecoder<Vec<u8>>>,
    /// Compressed pieces that are still to be decompressed.
    sips: VecDeque<Bytes>,
    ended: bool,
    /// Released when the body is dropped.
    _permit: Option<DownloadPermit>,
}

/// The body of a response as a stream of pieces. The stream holds the download permit until it is dropped.
pub fn of(response: Response, gzip: bool, permit: Option<DownloadPermit>) -> Pieces {
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

    /// Ends decompression. Compressed data mark their own end, so a body without that mark has broken off.
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
