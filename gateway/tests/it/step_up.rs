//! What happens when an upstream refuses Entra's token (B11), and when Entra wants more of the user.

mod claims;
mod end_to_end;
mod guard;
mod other_upstream;
mod refused;
