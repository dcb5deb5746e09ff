// Factorizations, solvers and spectra of dense matrices, f32 and f64: Eigen's on the CPU, cuSOLVER's on a device.
//
// A batch is `count` matrices, one after the other. Matrices are stored by columns, as LAPACK, Eigen and cuSOLVER have
// them; a row-major matrix is its own transpose stored by columns, so callers copy only where that does not help.
// Nothing is empty. One thread works on a matrix: results do not depend on the number of threads. NaN and infinity go
// through as arithmetic takes them; the spectra (eigh, svd, eig) want finite elements, which callers see to.
//
// `info` has a number for each matrix: 0, or what went wrong.
#pragma once

#include <cstdint>

#include "tenrec/core/dispatch.h"
#include "tenrec/core/dtype.h"

namespace tenrec::kernels {

struct Matrices {
  DType dtype = f32;
  int64_t count = 1, rows = 0, cols = 0;
};

// A = L L^T or U^T U in place, from the named triangle of A alone; the other one is left as it was. info: the order of
// the first leading minor that is not positive.
void cholesky(Cpu, const Matrices& s, bool upper, void* a, int32_t* info);
void cholesky(Cuda, const Matrices& s, bool upper, void* a, int32_t* info);

// How to read a triangular matrix.
struct Triangle {
  bool upper = false;       // which triangle of what is stored
  bool transposed = false;  // use its transpose
  bool unit = false;        // ones on the diagonal, whatever is stored
};
// B = op(A)^-1 B in place; B is rows x cols, A rows x rows. `shared`: one A for all of the batch.
void solve_triangular(Cpu, const Matrices& s, const Triangle& triangle, bool shared, const void* a, void* b);
void solve_triangular(Cuda, const Matrices& s, const Triangle& triangle, bool shared, const void* a, void* b);

// P A = L U in place, by partial pivoting: row i was exchanged with row pivots[i] - 1, i = 0, 1, ... A zero pivot is
// left in U.
void lu_factor(Cpu, const Matrices& s, void* a, int32_t* pivots);
void lu_factor(Cuda, const Matrices& s, void* a, int32_t* pivots);
// B = op(A)^-1 B in place from A's factors; B is rows x cols. `shared`: one A for all of the batch.
void lu_solve(Cpu, const Matrices& s, bool transposed, bool shared, const void* lu, const int32_t* pivots, void* b);
void lu_solve(Cuda, const Matrices& s, bool transposed, bool shared, const void* lu, const int32_t* pivots, void* b);

// A = Q R with rows >= cols: A is replaced by Q, R is cols x cols with zeros below the diagonal.
void qr(Cpu, const Matrices& s, void* a, void* r);
void qr(Cuda, const Matrices& s, void* a, void* r);

// Eigenvalues in rising order from the named triangle of A, which is replaced: by the eigenvectors as columns, if
// wanted. info: not 0 if the iteration did not converge.
void eigh(Cpu, const Matrices& s, bool upper, bool vectors, void* a, void* values, int32_t* info);
void eigh(Cuda, const Matrices& s, bool upper, bool vectors, void* a, void* values, int32_t* info);

// A = U diag(S) V^T, rows >= cols, S in falling order. A is overwritten. U is rows x cols, vt cols x cols; null for
// both if only S is wanted. info as eigh.
void svd(Cpu, const Matrices& s, void* a, void* u, void* values, void* vt, int32_t* info);
void svd(Cuda, const Matrices& s, void* a, void* u, void* values, void* vt, int32_t* info);

// Eigenvalues of a square A, which is overwritten: `values` has for each matrix all real parts, then all imaginary
// parts. A complex pair stands together, the positive imaginary part first. `vectors`, if not null, receives the
// eigenvectors as columns of norm 1; of a pair at j and j + 1 column j is the real part and column j + 1 the imaginary
// part of the first, and the second is its conjugate. info as eigh.
void eig(Cpu, const Matrices& s, void* a, void* values, void* vectors, int32_t* info);
void eig(Cuda, const Matrices& s, void* a, void* values, void* vectors, int32_t* info);

}  // namespace tenrec::kernels
