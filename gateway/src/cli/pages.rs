//! `sallyport completions` and `sallyport man`: made from the commands themselves.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, FAILED};

#[derive(Args)]
pub struct Completions {
    /// Whose completions.
    shell: Shell,
}

#[derive(Args)]
pub struct Manual {
    /// Write one page for each command into this folder, in the place of printing the first one.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl Completions {
    pub fn run(&self) -> ExitCode {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "sallyport", &mut text);
        finished(io::stdout().write_all(&text))
    }
}

impl Manual {
    pub fn run(&self) -> ExitCode {
        finished(match &self.folder {
            Some(folder) => clap_mangen::generate_to(Cli::command(), folder),
            None => {
                let mut page = Vec::new();
                let rendered = Man::new(Cli::command()).render(&mut page);
                rendered.and_then(|()| io::stdout().write_all(&page))
            }
        })
    }
}

fn finished(written: io::Result<()>) -> ExitCode {
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sallyport: {error}");
            ExitCode::from(FAILED)
        }
    }
}

// Of the program with all its commands.
#[cfg(test)]
#[cfg(feature = "dev")]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Of every command, as `--help` has it.
    fn helps(command: &mut clap::Command, texts: &mut Vec<String>) {
        let help = command.render_long_help();
        texts.push(format!("$ {} --help\n{help}", command.get_bin_name().unwrap_or("sallyport")));
        for below in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            helps(below, texts);
        }
    }

    #[test]
    fn help_says_what_each_command_does() {
        let (mut command, mut texts) = (Cli::command(), Vec::new());
        command.build();
        helps(&mut command, &mut texts);
        insta::assert_snapshot!("help", texts.join("\n"));
    }

    fn pages(folder: &Path) -> BTreeMap<String, String> {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        files.map(|file| (file.file_name().into_string().unwrap(), fs::read_to_string(file.path()).unwrap())).collect()
    }

    #[test]
    fn the_manual_in_the_repository_is_the_one_that_is_made() {
        let made = std::env::temp_dir().join(format!("sallyport-man-{}", std::process::id()));
        fs::create_dir(&made).unwrap();
        clap_mangen::generate_to(Cli::command(), &made).unwrap();
        let now = pages(&made);
        fs::remove_dir_all(&made).unwrap();
        let kept = pages(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man"));
        let names = |pages: &BTreeMap<String, String>| pages.keys().cloned().collect::<Vec<_>>();
        let advice = "make them anew by `cargo run -p sallyport -- man --folder docs/man`";
        assert_eq!(names(&now), names(&kept), "{advice}");
        for (name, page) in &now {
            assert_eq!(page, &kept[name], "{name}: {advice}");
        }
    }

    #[test]
    fn each_shell_has_completions_of_each_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sallyport", &mut text);
            let text = String::from_utf8(text).unwrap();
            for command in ["serve", "doctor", "healthcheck", "explain"] {
                assert!(text.contains(command), "{shell} lacks {command}");
            }
        }
    }
}
