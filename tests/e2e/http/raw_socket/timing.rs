//! When it comes: slowly, in pieces, or never; and clients that are gone before they are answered.

use std::time::Duration;

use harness::sender::Source;

use super::case::Wanted::{Each, Refused, Stored};
use super::case::{Cases, Raw, Step};

const BEAT: Duration = Duration::from_millis(20);

/// Longer than a head or the pause of a body may take.
const TOO_LONG: Duration = Duration::from_secs(13);

fn good(project: &str) -> Raw {
    Raw::of(Source::Github, project)
}

/// In pieces of this size, with a pause after each.
fn pieces(bytes: &[u8], size: usize, pause: Duration) -> Vec<Step> {
    bytes.chunks(size).flat_map(|piece| [Step::Send(piece.to_vec()), Step::Pause(pause)]).collect()
}

pub(super) fn add(cases: &mut Cases) {
    cases.steps("head and body apart", Stored, |project| {
        let raw = good(project);
        vec![Step::Send(raw.head()), Step::Pause(10 * BEAT), Step::Send(raw.body)]
    });
    cases.steps("in pieces of 100 bytes", Stored, |project| pieces(&good(project).bytes(), 100, BEAT));
    cases.steps("the head byte by byte", Stored, |project| {
        let raw = good(project);
        let mut steps = pieces(&raw.head(), 1, Duration::from_millis(1));
        steps.push(Step::Send(raw.body));
        steps
    });
    cases.steps("two requests with a pause between", Each(vec![Stored, Stored]), |project| {
        vec![Step::Send(good(project).bytes()), Step::Pause(50 * BEAT), Step::Send(good(project).bytes())]
    });
    cases.steps("finished after the request, before the answer", Stored, |project| {
        vec![Step::Send(good(project).bytes()), Step::Finish]
    });
    cases.steps("finished without a byte", Refused, |_| vec![Step::Finish]);
    cases.steps("finished within the head", Refused, |project| {
        vec![Step::Send(good(project).head()[..50].to_vec()), Step::Finish]
    });
    cases.steps("finished after the head", Refused, |project| vec![Step::Send(good(project).head()), Step::Finish]);
    cases.steps("finished within the body", Refused, |project| {
        let bytes = good(project).bytes();
        vec![Step::Send(bytes[..bytes.len() - 1].to_vec()), Step::Finish]
    });
    cases.steps("nothing is sent", Refused, |_| vec![Step::Pause(TOO_LONG)]);
    cases.steps("a head that never ends", Refused, |project| {
        vec![Step::Send(good(project).head()[..50].to_vec()), Step::Pause(TOO_LONG)]
    });
    cases.steps("a head that trickles", Refused, |project| {
        pieces(&good(project).head(), 1, Duration::from_millis(200)).into_iter().take(140).collect()
    });
    cases
        .steps("a body that never comes", 408, |project| vec![Step::Send(good(project).head()), Step::Pause(TOO_LONG)]);
    cases.steps("a body that stops half way", 408, |project| {
        let bytes = good(project).bytes();
        vec![Step::Send(bytes[..bytes.len() / 2].to_vec()), Step::Pause(TOO_LONG)]
    });
    cases.steps("a wrongly signed body that never comes", 408, |project| {
        vec![Step::Send(good(project).without("X-Hub-Signature").head()), Step::Pause(TOO_LONG)]
    });
    cases.steps("chunks that stop", 408, |project| {
        let raw = good(project).chunked(100);
        vec![Step::Send([raw.head(), raw.body[..200].to_vec()].concat()), Step::Pause(TOO_LONG)]
    });
    for at in [0, 1, 30, 400] {
        cases.steps(&format!("hung up after {at} bytes"), Refused, |project| {
            vec![Step::Send(good(project).bytes()[..at].to_vec()), Step::HangUp]
        });
    }
    cases.steps("hung up after the head", Refused, |project| vec![Step::Send(good(project).head()), Step::HangUp]);
    cases.steps("hung up before the answer to a forgery", Refused, |project| {
        vec![Step::Send(good(project).signed_with("guessed").bytes()), Step::HangUp]
    });
    cases.steps("100 forgeries, then hung up", Refused, |project| {
        vec![Step::Send(good(project).signed_with("guessed").bytes().repeat(100)), Step::HangUp]
    });
}
