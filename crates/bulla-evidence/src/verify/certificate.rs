//! Says what a bundle with a certificate proves, and when something was signed.

use super::{
    Assessed, Certificates, SignedBy, Verdict,
    piece::{Claims, FORGED, OTHER, stated, told},
};
use crate::{
    bundle::{self, Bundle},
    image::shown,
    key::PublicKey,
    keyless::{Certified, KeylessError, Proof, Signed, claimed},
};

const NAME_ROOT: &str = "give the trusted root of the instance that it was signed by, `--trusted-root FILE`, and who may sign, \
                         `--certificate-identity` and `--certificate-oidc-issuer`";
const OTHER_ROOT: &str = "if you trust the instance that issued it, give its trusted root, `--trusted-root FILE`";

/// Says what a bundle with a certificate proves by a trusted root and the people who may sign.
pub(super) fn assess(
    claims: &Claims<'_>,
    bundle: &Bundle,
    bytes: &[u8],
    file: Option<&[u8]>,
    certificates: Option<Certificates<'_>>,
) -> Assessed {
    let about = told(bundle);
    let Some(Certificates { root, identities, now }) = certificates else {
        let says =
            claimed(bytes).map(|(identity, issuer)| format!(" that says it is of {}", named(&identity, &issuer)));
        let detail = format!("it is signed with a certificate (keyless){}", says.unwrap_or_default());
        return claims.not_checked(about, &detail, NAME_ROOT);
    };
    let signed = match (&bundle.content, file) {
        (bundle::Content::Envelope(_), _) => Signed::Statement(claims.subject()),
        (bundle::Content::File { .. }, Some(file)) => Signed::File(file),
        (bundle::Content::File { .. }, None) => {
            return claims.failed(about, "it is the signature of a file, and signs no image", FORGED);
        }
    };
    let Proof { certified, payload } = match root.certified(bytes, signed, now) {
        Ok(proof) => proof,
        Err(error @ KeylessError::Stranger) => return claims.not_checked(about, &error.to_string(), OTHER_ROOT),
        Err(KeylessError::OtherSubject) => {
            let detail = if file.is_some() { "it is the signature of other bytes" } else { OTHER };
            return claims.failed(about, detail, FORGED);
        }
        Err(error) => return claims.failed(about, &error.to_string(), FORGED),
    };
    let (identity, issuer) =
        (certified.identity.clone().unwrap_or_default(), certified.issuer.clone().unwrap_or_default());
    if !identities.iter().any(|one| one.is(&identity, &issuer)) {
        let who = named(&identity, &issuer);
        let detail = match identities {
            [] => format!("it is signed by {who}, and nobody was named who may sign by a certificate"),
            _ => format!("it is signed by {who}, who is none of those who were named"),
        };
        let advice = "if they may sign, name them by `--certificate-identity` and `--certificate-oidc-issuer`";
        return claims.not_checked(about, &detail, advice);
    }
    let proven = match payload {
        Some(payload) => stated(claims, about, &payload),
        None => claims.claim(about, Verdict::Proven, "its bytes are signed", ""),
    };
    when(proven, certified)
}

/// Adds to what a key proves when it was signed, where that is in the bundle and there is a trusted root; what is there has to be good.
pub(super) fn timed(
    judged: Assessed,
    claims: &Claims<'_>,
    key: Option<&PublicKey>,
    bytes: &[u8],
    file: Option<&[u8]>,
    certificates: Option<Certificates<'_>>,
) -> Assessed {
    let (Some(Certificates { root, now, .. }), Some(key), Verdict::Proven) = (certificates, key, judged.claim.verdict)
    else {
        return judged;
    };
    let signed = file.map_or(Signed::Statement(claims.subject()), Signed::File);
    match root.timed(bytes, signed, key, now) {
        Ok(None) => judged,
        Ok(Some(certified)) => when(judged, certified),
        Err(error) => {
            let detail = format!("the key signed it, and its timestamp or entry of a log is not good: {error}");
            let failed = claims.failed(judged.claim.about.clone(), &detail, FORGED);
            Assessed { claim: super::Claim { key: judged.claim.key, ..failed.claim }, statement: None }
        }
    }
}

/// Says who and when of what is proven.
fn when(proven: Assessed, certified: Certified) -> Assessed {
    let times: Vec<String> = certified.times.iter().map(|time| time.rfc3339()).collect();
    let mut detail = proven.claim.detail.clone();
    // The first that says that it was there already.
    if let (Verdict::Proven, Some(first)) = (proven.claim.verdict, times.first()) {
        detail.push_str(&format!(", at {first} at the latest"));
    }
    let Certified { identity, issuer, logged, .. } = certified;
    let (identity, issuer) = (identity.map(|text| shown(&text)), issuer.map(|text| shown(&text)));
    let mut told = proven.signed(SignedBy { identity, issuer, times, logged });
    told.claim.detail = detail;
    told
}

fn named(identity: &str, issuer: &str) -> String {
    format!("{} by the word of {}", shown(identity), shown(issuer))
}
