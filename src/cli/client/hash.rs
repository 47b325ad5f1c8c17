//! `railpost hash-password`: a hash for definitions and for `user add --hash`.

use crate::access::password::Algorithm;
use crate::access::password::PasswordHash;
use crate::cli::client::Outcome;
use crate::cli::client::args::HashAlgorithm;
use crate::cli::client::args::HashArgs;
use crate::cli::client::failure::Failure;
use crate::cli::client::output;
use crate::cli::exit::Exit;

pub(super) fn run(args: &HashArgs) -> Outcome {
    let password = output::read_password()?;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|it| Failure::usage(format!("no randomness: {it}")))?;
    let short = [salt[0], salt[1], salt[2], salt[3]];
    let hash = match args.algorithm {
        HashAlgorithm::Sha256 => PasswordHash::sha256(short, &password),
        HashAlgorithm::Sha512 => PasswordHash::imported(Algorithm::Sha512, short, &password),
        HashAlgorithm::Md5 => PasswordHash::imported(Algorithm::Md5, short, &password),
        HashAlgorithm::Argon2id => PasswordHash::new(salt, &password),
    };
    output::say(&format!("{}\n", hash.to_text()));
    Ok(Exit::Fine)
}
