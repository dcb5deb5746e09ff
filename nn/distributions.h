// All distributions and their divergences.
#pragma once

#include "tenrec/nn/distributions/continuous.h"
#include "tenrec/nn/distributions/discrete.h"
#include "tenrec/nn/distributions/distribution.h"
#include "tenrec/nn/distributions/kl.h"
#include "tenrec/nn/distributions/multivariate_normal.h"
