//! Answers as they come: server-sent events (WHATWG HTML, "Server-sent events").

use crate::parts::{Reading, Said};
use crate::refusal::Refusal;
use crate::texts::Texts;
use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde::Serialize;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Events on their way to a client that reads slowly: then the writer waits, and the engine does not.
const QUEUE: usize = 64;
/// A comment is sent after so long without an event, so that nothing between here and the client closes the connection.
const SILENCE: Duration = Duration::from_secs(10);

/// Events of an API.
pub trait Writer: Send + 'static {
    /// Before anything is computed.
    fn begin(&mut self, readings: &[Reading]) -> Vec<Event>;
    /// Something was said of choice `i`.
    fn said(&mut self, i: usize, said: &Said, readings: &[Reading]) -> Vec<Event>;
    /// All have ended.
    fn end(&mut self, readings: &[Reading]) -> Vec<Event>;
    /// It failed: the last events, of OpenAI where an API has no form of its own.
    fn failed(&mut self, refusal: &Refusal) -> Vec<Event> {
        vec![Event::data(&refusal.openai())]
    }
}

/// An event.
pub struct Event(Bytes);

impl Event {
    /// Data alone, as JSON.
    pub fn data(data: &impl Serialize) -> Self {
        Self::of(None, data)
    }

    /// Data with a name.
    pub fn named(name: &str, data: &impl Serialize) -> Self {
        Self::of(Some(name), data)
    }

    /// The end of OpenAI's streams.
    pub fn done() -> Self {
        Self(Bytes::from_static(b"data: [DONE]\n\n"))
    }

    fn of(name: Option<&str>, data: &impl Serialize) -> Self {
        // What is serialized here are structs of texts and numbers.
        let json = serde_json::to_string(data).unwrap_or_default();
        let name = name.map_or(String::new(), |n| format!("event: {n}\n"));
        Self(format!("{name}data: {json}\n\n").into())
    }
}

/// The response: events of the texts as the writer has them. A client that goes away ends the texts.
pub fn stream(texts: Texts, readings: Vec<Reading>, writer: impl Writer) -> Response {
    let (sender, receiver) = channel(QUEUE);
    tokio::spawn(write(texts, readings, writer, sender));
    let body = Body::from_stream(unfold(receiver, next));
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, body).into_response()
}

async fn next(
    mut receiver: Receiver<Event>,
) -> Option<(Result<Bytes, Infallible>, Receiver<Event>)> {
    let bytes = match tokio::time::timeout(SILENCE, receiver.recv()).await {
        Ok(event) => event?.0,
        Err(_) => Bytes::from_static(b": still computing\n\n"),
    };
    Some((Ok(bytes), receiver))
}

/// Writes until all has ended or the client is gone.
async fn write(
    mut texts: Texts,
    mut readings: Vec<Reading>,
    mut writer: impl Writer,
    sender: Sender<Event>,
) {
    let mut events = writer.begin(&readings);
    loop {
        for event in events {
            if sender.send(event).await.is_err() {
                return;
            }
        }
        let news = tokio::select! {
            news = texts.next() => news,
            () = sender.closed() => return,
        };
        let said = match news {
            Ok(None) => break,
            Ok(Some((i, news))) => readings[i].take(news).map(|said| (i, said)),
            Err(refusal) => Err(refusal),
        };
        events = match said {
            Ok((i, said)) => writer.said(i, &said, &readings),
            Err(refusal) => {
                for event in writer.failed(&refusal) {
                    let _ = sender.send(event).await;
                }
                return;
            }
        };
    }
    for event in writer.end(&readings) {
        // Whoever is gone has missed nothing but the end.
        let _ = sender.send(event).await;
    }
}
