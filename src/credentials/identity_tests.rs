#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::api::Reason;

const SCOPE: &str = "https://a.example/.default";

/// An authority that issues the tokens `t1`, `t2` and so on, or none.
#[derive(Debug)]
struct Entra {
    asked: AtomicUsize,
    life: i64,
    fails: bool,
    hangs: bool,
}

impl Default for Entra {
    fn default() -> Self {
        Self { asked: AtomicUsize::new(0), life: 3600, fails: false, hangs: false }
    }
}

#[async_trait]
impl TokenCredential for Entra {
    async fn get_token(
        &self,
        _: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        if self.hangs {
            std::future::pending::<()>().await;
        }
        if self.fails {
            let problem = CredentialProblem::passing(Reason::TokenUnavailable, "down");
            return Err(azure_core::Error::new(ErrorKind::Credential, problem));
        }
        Ok(token(&format!("t{number}"), self.life))
    }
}

fn token(value: &str, seconds: i64) -> AccessToken {
    let expires_on = OffsetDateTime::now_utc() + azure_core::time::Duration::seconds(seconds);
    AccessToken::new(value.to_owned(), expires_on)
}

fn identity(entra: Entra) -> (Arc<Entra>, Identity) {
    let entra = Arc::new(entra);
    let credential = entra.clone();
    (
        entra,
        Identity::new(
            Issuer::Host("host".to_owned()),
            Duration::from_secs(15),
            Box::new(move || Ok(credential.clone())),
        ),
    )
}

/// Gives the identity a token that is due for renewal.
fn hold(identity: &Identity, seconds: i64) {
    let end = token("old", seconds);
    let last_use = end.expires_on - LAST_USE;
    let held = Held { renew: OffsetDateTime::now_utc(), last_use, ..Held::new(end) };
    identity.held.lock().unwrap().insert(SCOPE.to_owned(), held);
}

async fn ask(identity: &Identity) -> Result<String, Reason> {
    let asked = identity.token(SCOPE).await;
    asked.map(|token| token.token.secret().to_owned()).map_err(|problem| problem.reason)
}

#[tokio::test]
async fn a_token_due_for_renewal_is_renewed() {
    let (entra, identity) = identity(Entra::default());
    hold(&identity, 250);
    assert_eq!(ask(&identity).await.unwrap(), "t1");
    assert_eq!(ask(&identity).await.unwrap(), "t1");
    assert_eq!(entra.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn where_a_renewal_fails_the_old_one_does_while_it_is_good() {
    for (seconds, got) in
        [(250, Ok("old".to_owned())), (40, Ok("old".to_owned())), (1, Err(Reason::TokenUnavailable))]
    {
        let (entra, identity) = identity(Entra { fails: true, ..Entra::default() });
        hold(&identity, seconds);
        for _ in 0..3 {
            assert_eq!(ask(&identity).await, got, "{seconds}");
        }
        assert_eq!(entra.asked.load(Ordering::SeqCst), 1, "a failure is kept for a while");
    }
}

#[tokio::test]
async fn a_failure_is_kept_for_seconds_and_a_hang_ends() {
    let (entra, mut identity) = identity(Entra { hangs: true, ..Entra::default() });
    identity.longest = Duration::from_millis(1);
    assert_eq!(ask(&identity).await, Err(Reason::TokenUnavailable));
    assert_eq!(ask(&identity).await, Err(Reason::TokenUnavailable));
    assert_eq!(entra.asked.load(Ordering::SeqCst), 1);
    identity.asking.lock().await.failed.get_mut(SCOPE).unwrap().0 -= FAILURE_KEPT;
    assert_eq!(ask(&identity).await, Err(Reason::TokenUnavailable));
    assert_eq!(entra.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn nobody_waits_for_a_renewal_while_the_old_one_is_good() {
    let (_, identity) = identity(Entra { hangs: true, ..Entra::default() });
    hold(&identity, 250);
    let renewing = identity.asking.lock().await;
    assert_eq!(ask(&identity).await.unwrap(), "old");
    drop(renewing);
}

#[tokio::test]
async fn a_refused_token_is_replaced_but_not_again_and_again() {
    let (_, identity) = identity(Entra::default());
    assert_eq!(ask(&identity).await.unwrap(), "t1");
    let instead = async |refused: &str| {
        identity.token_instead_of(SCOPE, refused).await.unwrap().token.secret().to_owned()
    };
    assert_eq!(instead("t1").await, "t2");
    assert_eq!(instead("t1").await, "t2", "somebody else has renewed it already");
    assert_eq!(instead("t2").await, "t2", "too soon");
    *identity.asking.lock().await.forced.as_mut().unwrap() -= FORCED_APART;
    assert_eq!(instead("t2").await, "t3");
}

#[tokio::test]
async fn only_a_token_that_is_good_is_in_hand() {
    let (_, identity) = identity(Entra::default());
    assert!(identity.held_token(SCOPE).is_none());
    hold(&identity, 1);
    assert!(identity.held_token(SCOPE).is_none());
    hold(&identity, 60);
    assert_eq!(identity.held_token(SCOPE).unwrap().token.secret(), "old");
}

#[test]
fn a_short_life_is_used_almost_to_its_end() {
    for (life, renewed, last) in
        [(5, 4.0, 4.5), (60, 48.0, 55.0), (300, 240.0, 295.0), (3600, 3300.0, 3595.0)]
    {
        let begun = OffsetDateTime::now_utc();
        let held = Held::new(token("t", life));
        assert!(((held.renew - begun).as_seconds_f64() - renewed).abs() < 0.5, "{life}");
        assert!(((held.last_use - begun).as_seconds_f64() - last).abs() < 0.5, "{life}");
        assert!(held.is_usable() && held.forced_apart < Duration::from_secs(31));
    }
    assert!(!Held::new(token("t", -1)).is_usable());
}

#[tokio::test]
async fn a_refused_token_of_a_short_life_is_replaced_sooner() {
    let (_, identity) = identity(Entra { life: 1, ..Entra::default() });
    assert_eq!(ask(&identity).await.unwrap(), "t1");
    let instead = async |refused: &str| {
        identity.token_instead_of(SCOPE, refused).await.unwrap().token.secret().to_owned()
    };
    assert_eq!(instead("t1").await, "t2");
    assert_eq!(instead("t2").await, "t2", "too soon");
    *identity.asking.lock().await.forced.as_mut().unwrap() -= Duration::from_millis(500);
    assert_eq!(instead("t2").await, "t3");
}
