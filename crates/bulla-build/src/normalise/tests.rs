use std::{
    fs::File,
    io::{Cursor, Read as _, Seek as _, Write as _},
};

use ::zip::{DateTime, ZipArchive, ZipWriter, write::SimpleFileOptions};
use bulla_model::spec::ArchiveFormat;

use super::{Failure, is, write};

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    file.rewind().expect("rewound");
    file
}

fn anew(format: ArchiveFormat, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut to = file(b"");
    write(format, file(bytes), &to).map_err(|failure| match failure {
        Failure::Unfit(why) => why,
        Failure::Io(error) => panic!("{error}"),
    })?;
    let mut made = Vec::new();
    to.rewind().expect("rewound");
    to.read_to_end(&mut made).expect("read");
    Ok(made)
}

fn zipped(names: &[&str], hour: u8) -> Vec<u8> {
    zipped_of(names, hour, |name| format!("what {name} holds, what {name} holds"))
}

fn zipped_of(names: &[&str], hour: u8, content: impl Fn(&str) -> String) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let time = DateTime::from_date_and_time(2026, 7, 1, hour, 30, 2).expect("a time");
    for name in names {
        let options = SimpleFileOptions::default().last_modified_time(time).unix_permissions(0o755);
        writer.start_file(*name, options).expect("a member");
        writer.write_all(content(name).as_bytes()).expect("its bytes");
    }
    writer.finish().expect("whole").into_inner()
}

#[test]
fn a_zip_has_no_times_and_one_order_and_its_members_are_what_they_were() {
    let one = anew(ArchiveFormat::Zip, &zipped(&["b", "META-INF/MANIFEST.MF", "a"], 3)).expect("written anew");
    let other = anew(ArchiveFormat::Zip, &zipped(&["a", "b", "META-INF/MANIFEST.MF"], 4)).expect("written anew");
    assert_eq!(one, other);
    let mut archive = ZipArchive::new(Cursor::new(one)).expect("an archive");
    let names: Vec<String> = archive.file_names().map(|name| name.expect("text").into_owned()).collect();
    assert_eq!(names, ["META-INF/MANIFEST.MF", "a", "b"]);
    let mut member = archive.by_name("a").expect("a member");
    assert_eq!(member.unix_mode(), Some(0o10_0755));
    let mut text = String::new();
    member.read_to_string(&mut text).expect("its bytes");
    assert_eq!(text, "what a holds, what a holds");
}

#[test]
fn a_zip_whose_members_share_bytes_or_that_has_something_before_it_is_refused() {
    let numbers = |_: &str| (1..4000).map(|n: u32| (n * 7919 % 99_991).to_string()).collect();
    let mut shared = zipped_of(&["a"], 1, numbers);
    // Members that all have the same bytes, as a bomb has them.
    let directory = shared.windows(4).position(|four| four == b"PK\x01\x02").expect("a directory");
    let end = shared.windows(4).position(|four| four == b"PK\x05\x06").expect("an end");
    let entry = shared[directory..end].to_vec();
    let tail = shared.split_off(end);
    let with = |names: &[u8]| {
        let (mut bytes, mut tail) = (shared[..directory].to_vec(), tail.clone());
        for name in names {
            bytes.extend_from_slice(&entry);
            *bytes.last_mut().expect("a name") = *name;
        }
        let (count, size) = (names.len() as u16, (bytes.len() - directory) as u32);
        tail[8..10].copy_from_slice(&count.to_le_bytes());
        tail[10..12].copy_from_slice(&count.to_le_bytes());
        tail[12..16].copy_from_slice(&size.to_le_bytes());
        [bytes, tail].concat()
    };
    anew(ArchiveFormat::Zip, &with(b"a")).expect("the control: one member");
    let names: Vec<u8> = (b'0'..=b'z').collect();
    assert!(anew(ArchiveFormat::Zip, &with(&names)).is_err());
    assert!(anew(ArchiveFormat::Zip, &with(b"aa")).expect_err("refused").contains("one name"));
    let before = [b"#!/bin/sh\n".as_slice(), &zipped(&["a"], 1)].concat();
    assert!(anew(ArchiveFormat::Zip, &before).expect_err("refused").contains("10 bytes"));
    assert!(anew(ArchiveFormat::Zip, b"PK\x03\x04").is_err());
}

fn gzipped(text: &str, time: u32) -> Vec<u8> {
    let mut encoder = flate2::GzBuilder::new().mtime(time).write(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("compressed");
    encoder.finish().expect("whole")
}

#[test]
fn each_member_of_a_gzip_file_has_no_time() {
    let two = |time: u32| [gzipped("one", time), gzipped("two", time + 1)].concat();
    let made = anew(ArchiveFormat::Gzip, &two(1_700_000_000)).expect("written anew");
    let mut same = two(0);
    same[gzipped("one", 0).len() + 4] = 0;
    assert_eq!(made, same);
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(&made[..]).read_to_string(&mut text).expect("read");
    assert_eq!(text, "onetwo");
    let cut = &two(5)[..20];
    assert!(anew(ArchiveFormat::Gzip, cut).expect_err("cut off").contains("byte 0"));
    assert!(anew(ArchiveFormat::Gzip, &[gzipped("one", 1), b"more".to_vec()].concat()).is_err());
}

#[test]
fn members_of_an_ar_have_the_owner_and_time_that_ar_gives_them_when_asked() {
    let header = |name: &str, time: &str, owner: &str, mode: &str, size: usize| {
        format!("{name:<16}{time:<12}{owner:<6}{owner:<6}{mode:<8}{size:<10}`\n")
    };
    let archive = |time: &str, owner: &str, mode: &str| {
        let index_time = if time == "0" { "0" } else { time };
        [
            b"!<arch>\n".to_vec(),
            format!("{:<16}{index_time:<12}{:<6}{:<6}{:<8}{:<10}`\n", "/", "0", "0", "0", 4).into_bytes(),
            b"\0\0\0\0".to_vec(),
            header("a.o/", time, owner, mode, 3).into_bytes(),
            b"odd\n".to_vec(),
            header("b.o/", time, owner, mode, 4).into_bytes(),
            b"even".to_vec(),
        ]
        .concat()
    };
    let made = anew(ArchiveFormat::Ar, &archive("1700000000", "1000", "100755")).expect("written anew");
    assert_eq!(String::from_utf8_lossy(&made), String::from_utf8_lossy(&archive("0", "0", "644")));
    let whole = archive("1", "1", "644");
    for cut in [9, 60, 80, whole.len() - 1] {
        assert!(anew(ArchiveFormat::Ar, &whole[..cut]).is_err(), "{cut}");
    }
    let mut long = whole.clone();
    long[56..66].copy_from_slice(b"9999999999");
    assert!(anew(ArchiveFormat::Ar, &long).is_err());
}

#[test]
fn a_file_is_told_by_its_first_bytes() {
    assert!(is(ArchiveFormat::Zip, &mut file(b"PK\x03\x04")).expect("read"));
    assert!(!is(ArchiveFormat::Zip, &mut file(b"P")).expect("read"));
    assert!(!is(ArchiveFormat::Gzip, &mut file(b"")).expect("read"));
    assert!(is(ArchiveFormat::Ar, &mut file(b"!<arch>\nrest")).expect("read"));
}
