//! A WebSocket endpoint that sends each message back: RFC 6455, no extension.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// RFC 6455 section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The largest frame that is echoed; a larger one ends the connection with 1009.
const MAX_FRAME: u64 = 1 << 20;

const FIN: u8 = 0x80;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const PROTOCOL_ERROR: u16 = 1002;
const TOO_BIG: u16 = 1009;

/// The `sec-websocket-accept` for a client's `sec-websocket-key` (RFC 6455 section 4.2.2).
pub(super) fn accept_key(key: &[u8]) -> String {
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID.as_bytes()].concat()))
}

/// Echoes frames until a close frame or the end of the stream.
pub(super) async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    loop {
        let head = match stream.read_u8().await {
            Ok(head) => head,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let length = stream.read_u8().await?;
        let masked = length & 0x80 != 0;
        let length = match length & 0x7f {
            126 => u64::from(stream.read_u16().await?),
            127 => stream.read_u64().await?,
            short => u64::from(short),
        };
        let opcode = head & 0x0f;
        let is_control = opcode >= CLOSE;
        // Sections 5.1, 5.2 and 5.5: a client masks, reserved bits are zero, a control frame is short and whole.
        if !masked || head & 0x70 != 0 || is_control && (length > 125 || head & FIN == 0) {
            return close(&mut stream, PROTOCOL_ERROR).await;
        }
        if length > MAX_FRAME {
            return close(&mut stream, TOO_BIG).await;
        }
        let mask = stream.read_u32().await?.to_be_bytes();
        let mut payload = vec![0; usize::try_from(length).unwrap_or_default()];
        stream.read_exact(&mut payload).await?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        match opcode {
            0..=2 => frame(&mut stream, head, &payload).await?,
            PING => frame(&mut stream, FIN | PONG, &payload).await?,
            PONG => {}
            CLOSE => {
                frame(&mut stream, head, payload.get(..2).unwrap_or_default()).await?;
                return stream.shutdown().await;
            }
            _ => return close(&mut stream, PROTOCOL_ERROR).await,
        }
    }
}

async fn close(stream: &mut (impl AsyncWrite + Unpin), code: u16) -> io::Result<()> {
    frame(stream, FIN | CLOSE, &code.to_be_bytes()).await?;
    stream.shutdown().await
}

async fn frame(stream: &mut (impl AsyncWrite + Unpin), head: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(head);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => frame.push(short),
        (_, Ok(medium)) => {
            frame.push(126);
            frame.extend(medium.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await
}

#[cfg(test)]
mod tests {
    use super::{accept_key, echo};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[test]
    fn the_accept_key_is_the_one_of_the_specification() {
        // RFC 6455 section 1.3.
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    /// Sends raw bytes, ends the stream, and returns all that came back.
    async fn answer(bytes: &[u8]) -> Vec<u8> {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let server = tokio::spawn(echo(server));
        client.write_all(bytes).await.expect("written");
        client.shutdown().await.expect("ended");
        let mut back = Vec::new();
        client.read_to_end(&mut back).await.expect("read");
        let _ = server.await.expect("no panic");
        back
    }

    #[tokio::test]
    async fn frames_come_back_unmasked() {
        // RFC 6455 section 5.7: "Hello", masked; then a ping with the same payload.
        let hello = [0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let text = [&[0x81, 0x85][..], &hello].concat();
        let ping = [&[0x89, 0x85][..], &hello].concat();
        assert_eq!(answer(&text).await, b"\x81\x05Hello");
        assert_eq!(answer(&ping).await, b"\x8a\x05Hello");
        let long = [&[0x82, 0xfe, 0x01, 0x00, 0, 0, 0, 0][..], &[7; 256]].concat();
        assert_eq!(answer(&long).await, [&[0x82, 126, 0x01, 0x00][..], &[7; 256]].concat());
    }

    #[tokio::test]
    async fn what_the_protocol_forbids_ends_it() {
        let error = b"\x88\x02\x03\xea";
        assert_eq!(answer(b"\x81\x05Hello").await, error, "not masked");
        assert_eq!(answer(b"\xc1\x80\0\0\0\0").await, error, "a reserved bit");
        assert_eq!(answer(b"\x09\x80\0\0\0\0").await, error, "a control frame in parts");
        assert_eq!(answer(b"\x83\x80\0\0\0\0").await, error, "an unknown opcode");
        assert_eq!(answer(b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff").await, b"\x88\x02\x03\xf1", "too large");
        assert_eq!(answer(b"\x88\x82\0\0\0\0\x03\xe8").await, b"\x88\x02\x03\xe8", "a close is answered");
    }
}
