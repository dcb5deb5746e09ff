// CIFAR-10 and CIFAR-100 in their binary version (plain or gzip).
//
// A record of CIFAR-10 is 3,073 bytes: a label, then 1,024 red, 1,024 green and 1,024 blue bytes, row by row. The
// training set is data_batch_1.bin to data_batch_5.bin, the test set test_batch.bin. A record of CIFAR-100 has two
// labels, the coarse one of 20 and the fine one of 100, so 3,074 bytes, in train.bin and test.bin. Each file possibly
// with .gz. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
#pragma once

#include <string>

#include "tenrec/core/bounded_reader.h"
#include "tenrec/data/images.h"

namespace tenrec {

// 3x32x32 images, labels 0 to 9. Throws IOError for a missing, truncated or wrong file.
ImageSet read_cifar10(const std::string& folder, Split split);
// Appends the records of one batch to `set`: at least one, at most 100,000.
void read_cifar10_batch(BoundedReader& reader, ImageSet& set);

enum class Cifar100Labels { fine, coarse };
// 3x32x32 images, labels 0 to 99, or 0 to 19 for the coarse ones. Both labels of every record are checked.
ImageSet read_cifar100(const std::string& folder, Split split, Cifar100Labels labels = Cifar100Labels::fine);
// Appends the records of one file to `set`: at least one, at most 100,000.
void read_cifar100_batch(BoundedReader& reader, ImageSet& set, Cifar100Labels labels = Cifar100Labels::fine);

}  // namespace tenrec
