use crate::storage::disk::FileName;

#[test]
fn a_file_name_is_its_path_and_back() {
    let cases = [
        (FileName::Store, "STORE"),
        (FileName::Segment(42), "log/00000042.log"),
        (FileName::Checkpoint(2), "ckpt-c"),
        (FileName::Index(7), "idx/00000007.idx"),
        (FileName::Damaged(123_456_789), "damaged/123456789.bin"),
    ];
    for (file, path) in cases {
        assert_eq!(file.to_string(), path);
        assert_eq!(FileName::parse(path), Some(file));
    }
}

#[test]
fn other_paths_are_no_files_of_a_store() {
    let paths =
        ["", "log", "log/1.log", "log/00000042.bak", "ckpt-", "ckpt-ab", "idx/x.idx", "a/b"];
    for path in paths {
        assert_eq!(FileName::parse(path), None, "{path}");
    }
}
