//! Reloads of the configuration: of the program by SIGHUP, and of a gateway in this process that is driven like others.

mod live;
mod program;
mod rig;
