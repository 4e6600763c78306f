//! The messages that are on their way: what has left a process arrives, even if the process is stopped or
//! dead by then.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::laws::Acting;
use crate::scheduler::Happening;
use crate::state::{State, locked};
use crate::time::Due;

/// What happens to the sender after its message was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing happens to the sender.
    Goes,
    /// The sender is killed before it receives the answer.
    Dies,
    /// The sender is stopped for this many seconds.
    Stops(i64),
}

/// A message on its way.
pub struct Message {
    /// The task that sent the message.
    pub acting: Acting,
    /// Whether the message is about the Lease.
    pub lease: bool,
    act: Box<dyn FnOnce(&mut State) + Send>,
}

/// All messages that are on their way.
#[derive(Default)]
pub struct Post {
    sent: u64,
    /// The messages, by number.
    messages: BTreeMap<u64, Message>,
}

impl Post {
    /// Whether a message about the Lease is on its way.
    pub fn about_lease(&self) -> bool {
        self.messages.values().any(|message| message.lease)
    }

    /// Handles the death of a sender: `lost` decides which of its messages are lost with it.
    pub fn orphaned(&mut self, process: usize, lost: &mut impl FnMut() -> bool) {
        self.messages.retain(|_, message| message.acting.process != process || !lost());
    }
}

/// The answer to a message, once it has arrived.
#[derive(Debug)]
struct Slot<T> {
    answer: Option<T>,
    /// When the answer arrives, in microseconds.
    there: i64,
    waker: Option<Waker>,
}

/// A future that waits for the answer to a message.
pub struct Letter<T> {
    state: Arc<Mutex<State>>,
    slot: Arc<Mutex<Slot<T>>>,
}

/// Sends a message. It arrives after `there` microseconds, is carried out by `act`, and its answer arrives as
/// many microseconds later as `back` returns.
pub fn post<T: Send + 'static>(
    state: &Arc<Mutex<State>>,
    lease: bool,
    there: i64,
    after: After,
    back: impl FnOnce(&mut State) -> i64 + Send + 'static,
    act: impl FnOnce(&mut State) -> T + Send + 'static,
) -> Letter<T> {
    let slot = Arc::new(Mutex::new(Slot { answer: None, there: 0, waker: None }));
    let whole = Arc::clone(state);
    let filled = Arc::clone(&slot);
    let mut state = locked(state);
    let acting = state.laws.acting.clone();
    let process = acting.process;
    let act = Box::new(move |state: &mut State| {
        let answer = act(state);
        match after {
            After::Goes => {}
            After::Dies => state.kill = Some(process),
            After::Stops(seconds) => state.stop = Some((process, seconds)),
        }
        let back = back(state);
        let mut slot = locked(&filled);
        slot.answer = Some(answer);
        slot.there = state.time.now + back;
        if let Some(waker) = slot.waker.take() {
            let tie = state.chance.draw();
            state.time.after(back, tie, Due::Wake(waker));
        }
    });
    state.post.sent += 1;
    let number = state.post.sent;
    state.post.messages.insert(number, Message { acting, lease, act });
    let tie = state.chance.draw();
    state.time.after(there, tie, Due::Happens(Happening::Arrive(number)));
    drop(state);
    Letter { state: whole, slot }
}

impl State {
    /// A message arrives, and is carried out.
    pub fn arrive(&mut self, number: u64) {
        let Some(message) = self.post.messages.remove(&number) else { return };
        let acting = std::mem::replace(&mut self.laws.acting, message.acting);
        (message.act)(self);
        self.laws.acting = acting;
    }
}

impl<T> Future for Letter<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = locked(&self.state);
        let mut slot = locked(&self.slot);
        let now = state.time.now;
        if slot.answer.is_some() && slot.there <= now {
            return slot.answer.take().map_or(Poll::Pending, Poll::Ready);
        }
        if slot.answer.is_some() {
            let tie = state.chance.draw();
            state.time.after(slot.there - now, tie, Due::Wake(context.waker().clone()));
        } else {
            slot.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}
