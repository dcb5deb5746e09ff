// All ops.
#pragma once

#include "tenrec/autograd/ops/activation.h"
#include "tenrec/autograd/ops/compare.h"
#include "tenrec/autograd/ops/conv.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/cumulative.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/index.h"
#include "tenrec/autograd/ops/join.h"
#include "tenrec/autograd/ops/matmul.h"
#include "tenrec/autograd/ops/mutate.h"
#include "tenrec/autograd/ops/pool.h"
#include "tenrec/autograd/ops/reduce.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/ops/sort.h"
#include "tenrec/autograd/ops/unary.h"
