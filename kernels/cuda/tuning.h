// Which of a library's kernels runs a product or convolution: the first that the library proposes, unless cuda::tune
// or cuda::load_tuning (core/cuda.h) say otherwise. The bookkeeping; the libraries' own files name the candidates and
// run them. Internal.
//
// The file is JSON: the device and the libraries' versions it was made with, and for each key the name of a candidate.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tenrec/core/cuda/runtime.h"

namespace tenrec::cuda {

// Changes when a plan made before might come out differently now; plans are kept by it.
uint64_t tuning_generation();
// Whether more than the first candidate matters.
bool tuning_active();

// The candidate for `key`: the one the file names, else, while tuning, the one that run(i) takes least time for, else
// the first. `run` puts one run of candidate i on the stream; its results go to scratch memory. DeviceError if the file
// names what is not among the candidates.
size_t choose(const std::string& key, const std::vector<std::string>& candidates, cudaStream_t stream,
              const std::function<void(size_t)>& run);

// The versions of the libraries that candidates come from, "cublasLt 130101, cudnn 91400".
std::string library_versions();

}  // namespace tenrec::cuda
