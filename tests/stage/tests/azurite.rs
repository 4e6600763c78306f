//! Azurite answers over http and https, and again after an outage.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test fails by panicking

use std::time::Instant;

use stage::{Authority, Azurite, AzuriteOptions, Folder};

/// Any answer of the blob service, signed in or not.
async fn answers(client: &reqwest::Client, azurite: &Azurite) -> bool {
    let mut url = azurite.endpoint().unwrap();
    url.set_query(Some("comp=list"));
    match client.get(url).send().await {
        Ok(answer) => answer.headers().contains_key("x-ms-request-id"),
        Err(_) => false,
    }
}

#[tokio::test]
async fn an_outage_keeps_the_address() {
    let started = Instant::now();
    let mut azurite = Azurite::start(AzuriteOptions::default()).await.unwrap();
    eprintln!("ready in {:?}", started.elapsed());
    let client = reqwest::Client::new();
    assert!(answers(&client, &azurite).await);
    assert_eq!(azurite.endpoint().unwrap().path(), "/devstoreaccount1");

    let endpoint = azurite.endpoint().unwrap();
    azurite.stop().await.unwrap();
    assert!(!answers(&client, &azurite).await);
    assert!(azurite.process().is_err());

    azurite.resume().await.unwrap();
    assert_eq!(azurite.endpoint().unwrap(), endpoint);
    assert!(answers(&client, &azurite).await);
}

#[tokio::test]
async fn https_with_an_account_of_its_own() {
    let folder = Folder::new("azurite-https").unwrap();
    let authority = Authority::new(&folder).unwrap();
    let options = AzuriteOptions::default()
        .account("clinic", "a2V5")
        .oauth(authority.server(&folder, "azurite").unwrap());
    let azurite = Azurite::start(options).await.unwrap();
    assert_eq!((azurite.account(), azurite.key()), ("clinic", "a2V5"));

    let pem = std::fs::read(authority.certificate()).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&pem).unwrap()])
        .build()
        .unwrap();
    assert!(answers(&client, &azurite).await);
    assert!(!answers(&reqwest::Client::new(), &azurite).await);
}
