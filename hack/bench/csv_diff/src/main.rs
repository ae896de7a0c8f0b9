//! Counts what csv-diff finds between two files whose first column is the key: the engine behind `qsv diff`.
use csv_diff::{csv::Csv, csv_diff::CsvByteDiffLocal, diff_row::DiffByteRecord};
use std::{env, error::Error, fs::File};

fn open(path: &str) -> Result<Csv<File>, Box<dyn Error>> {
    let reader = csv::ReaderBuilder::new().buffer_capacity(1 << 20).from_reader(File::open(path)?);
    Ok(Csv::from(reader))
}

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<String> = env::args().skip(1).collect();
    let found = CsvByteDiffLocal::new()?.diff(open(&paths[0])?, open(&paths[1])?)?;
    let (mut new, mut gone, mut changed) = (0, 0, 0);
    for record in found.as_slice() {
        match record {
            DiffByteRecord::Add(_) => new += 1,
            DiffByteRecord::Delete(_) => gone += 1,
            DiffByteRecord::Modify { .. } => changed += 1,
        }
    }
    println!("{{\"new\": {new}, \"gone\": {gone}, \"changed\": {changed}}}");
    Ok(())
}
