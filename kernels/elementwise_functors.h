// Functors of the elementwise kernels, shared by CPU and CUDA, and the lists that say which of them exist.
//
// A functor takes packets (a float or double, or a pack of them on the CPU) and returns one, or a mask if it says
// `predicate`. `integers` says that it is also defined on int64_t; `integers_only` that it is defined nowhere else.
// Arithmetic on int64_t wraps, as PyTorch's does.
#pragma once

#include "tenrec/kernels/elementwise_activations.h"
#include "tenrec/kernels/elementwise_binary.h"
#include "tenrec/kernels/elementwise_ternary.h"
#include "tenrec/kernels/elementwise_unary.h"
