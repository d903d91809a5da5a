//! A request by `wasi:http`.

use wasip2::{
    http::{
        outgoing_handler::handle,
        types::{
            ErrorCode, Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
            http_error_code,
        },
    },
    io::streams::StreamError,
};

use super::{Error, Request, Response};

/// What is read of an answer at once, in bytes.
const READ_BYTES: u64 = 64 * 1024;

pub(super) fn send(request: &Request) -> Result<Response, Error> {
    let outgoing = outgoing(request)?;
    let body = outgoing.body().map_err(|()| Error::Invalid("no room for a body"))?;
    let options = RequestOptions::new();
    let timeout = request.timeout.map(|timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
    options.set_first_byte_timeout(timeout).map_err(|()| Error::Invalid("a timeout that cannot be set"))?;
    let answering = handle(outgoing, Some(options)).map_err(refused)?;
    // A server may answer before it has read all of the body, and then its answer is what counts.
    let sent = write(body, &request.body);
    answering.subscribe().block();
    match answering.get() {
        Some(Ok(Ok(answer))) => read(&answer),
        Some(Ok(Err(error))) => Err(refused(error)),
        Some(Err(())) | None => Err(sent.err().unwrap_or_else(|| Error::Failed("there is no answer".to_owned()))),
    }
}

fn outgoing(request: &Request) -> Result<OutgoingRequest, Error> {
    let (scheme, rest) = match request.url.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(_) | None => return Err(Error::Invalid("a URL that is neither http:// nor https://")),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let headers: Vec<(String, Vec<u8>)> =
        request.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    let headers = Fields::from_list(&headers).map_err(|_| Error::Invalid("a header that cannot be sent"))?;
    let outgoing = OutgoingRequest::new(headers);
    let method = Method::Other(request.method.clone());
    outgoing.set_method(&method).map_err(|()| Error::Invalid("a method that is none"))?;
    outgoing.set_scheme(Some(&scheme)).map_err(|()| Error::Invalid("a scheme that is none"))?;
    outgoing.set_authority(Some(authority)).map_err(|()| Error::Invalid("a host that is none"))?;
    outgoing.set_path_with_query(Some(&path)).map_err(|()| Error::Invalid("a path that is none"))?;
    Ok(outgoing)
}

fn write(body: OutgoingBody, mut bytes: &[u8]) -> Result<(), Error> {
    let stream = body.write().map_err(|()| Error::Invalid("no room for a body"))?;
    while !bytes.is_empty() {
        let room = stream.check_write().map_err(|error| broken(&error))?;
        if room == 0 {
            stream.subscribe().block();
            continue;
        }
        let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        stream.write(now).map_err(|error| broken(&error))?;
        bytes = later;
    }
    drop(stream);
    OutgoingBody::finish(body, None).map_err(refused)
}

fn read(answer: &IncomingResponse) -> Result<Response, Error> {
    let mut response = Response { status: answer.status(), headers: answer.headers().entries(), body: Vec::new() };
    let body = answer.consume().map_err(|()| Error::Failed("there is no body".to_owned()))?;
    let stream = body.stream().map_err(|()| Error::Failed("there is no body".to_owned()))?;
    loop {
        match stream.blocking_read(READ_BYTES) {
            Ok(bytes) => response.body.extend_from_slice(&bytes),
            Err(StreamError::Closed) => return Ok(response),
            Err(error) => return Err(broken(&error)),
        }
    }
}

fn broken(error: &StreamError) -> Error {
    match error {
        StreamError::Closed => Error::Failed("the connection was closed".to_owned()),
        StreamError::LastOperationFailed(error) => match http_error_code(error) {
            Some(code) => refused(code),
            None => Error::Failed(error.to_debug_string()),
        },
    }
}

fn refused(code: ErrorCode) -> Error {
    match code {
        ErrorCode::HttpRequestDenied => Error::Denied,
        ErrorCode::ConnectionTimeout | ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => {
            Error::TimedOut
        }
        ErrorCode::HttpRequestBodySize(_) | ErrorCode::HttpResponseBodySize(_) => Error::TooLarge,
        ErrorCode::InternalError(Some(detail)) => Error::Failed(detail),
        other => Error::Failed(format!("{other:?}").replace("ErrorCode::", "")),
    }
}
