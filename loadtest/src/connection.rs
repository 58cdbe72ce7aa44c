//! One persistent connection of HTTP/1.1, made anew when the target has closed it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::Failure;

pub struct Connection {
    address: SocketAddr,
    patience: Duration,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    /// `patience`: for a whole exchange.
    pub fn new(address: SocketAddr, patience: Duration) -> Self {
        Self { address, patience, sender: None }
    }

    /// Sends the request and reads the whole answer.
    ///
    /// # Errors
    /// When there is no answer, or half of one. A status is none.
    pub async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
        let patience = self.patience;
        let answer = timeout(patience, async {
            let (head, body) = self.begin(request).await?.into_parts();
            let body = body.collect().await.map_err(|_| Failure::Broken)?;
            Ok(Response::from_parts(head, body.to_bytes()))
        });
        let answer = answer.await.unwrap_or(Err(Failure::TimedOut));
        if answer.is_err() {
            // What is left of that exchange must not be taken for the next answer.
            self.sender = None;
        }
        answer
    }

    /// Sends the request and gives the answer as soon as its header is there. The caller bounds the wait.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn begin(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        if let Some(sender) = &mut self.sender
            && sender.ready().await.is_ok()
        {
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok(answer),
                Err(mut error) => match error.take_message() {
                    // The target closed an idle connection: nothing was sent yet.
                    Some(unsent) => request = unsent,
                    None => return Err(Failure::Broken),
                },
            }
        }
        let mut sender = self.open().await?;
        let answer = sender.send_request(request).await.map_err(|_| Failure::Broken);
        self.sender = Some(sender);
        answer
    }

    async fn open(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let stream = TcpStream::connect(self.address).await.map_err(|_| Failure::NoConnection)?;
        stream.set_nodelay(true).map_err(|_| Failure::NoConnection)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| Failure::NoConnection)?;
        // Its end is told to whoever waits for an answer.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}
