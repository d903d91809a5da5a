//! Panics. Proves that the text of a panic is kept with the attempt: the outcome is `trapped`, and the log names
//! the message and this line.

use wasmill::Message;

#[wasmill::handler]
fn panic(message: Message) -> wasmill::Result {
    panic!("guest-panic cannot handle message {}", message.id);
}
