use std::time::Duration;

use realtime_client::{Client, Error, ErrorKind, Status};

use crate::support::{Backend, quick, until_status, within};

async fn refused(head: &'static str) -> Error {
    let backend = Backend::start().await;
    let url = backend.url();
    let mut count = backend.answer_http(head);
    let error = within(Client::connect(quick(&url))).await.unwrap_err();
    assert_eq!(*count.borrow_and_update(), 1, "a refusal for good is asked for once");
    error
}

#[tokio::test]
async fn statuses_that_will_not_change_end_it() {
    for (head, status) in [("403 Forbidden", 403), ("404 Not Found", 404), ("426 Upgrade Required", 426)] {
        let error = refused(head).await;
        assert_eq!((error.kind, error.status), (ErrorKind::HttpStatus, Some(status)));
        assert!(error.message.contains(&status.to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_401_without_a_token_provider_ends_it() {
    let error = refused("401 Unauthorized").await;
    assert_eq!((error.kind, error.status), (ErrorKind::Unauthenticated, Some(401)));
}

#[tokio::test]
async fn statuses_that_may_change_are_tried_again_when_the_server_says() {
    let date = "429 Too Many Requests\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT";
    for (head, status, at_least) in
        [("503 Service Unavailable\r\nRetry-After: 7", 503, 7), (date, 429, 1_000_000), ("500 Oops", 500, 0)]
    {
        let backend = Backend::start().await;
        let url = backend.url();
        let _count = backend.answer_http(head);
        let client = Client::builder(quick(&url)).start().unwrap();
        let (reason, retry_in) = until_status(&mut client.events(), Status::Reconnecting).await;
        let reason = reason.unwrap();
        assert_eq!((reason.kind, reason.status), (ErrorKind::HttpStatus, Some(status)));
        let retry_in = retry_in.unwrap();
        assert!(retry_in >= Duration::from_secs(at_least), "{retry_in:?}");
        assert!(at_least > 0 || retry_in <= Duration::from_millis(10), "{retry_in:?}");
    }
}
