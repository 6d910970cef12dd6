/* The BLAS and LAPACK that faiss calls, answered by the OpenBLAS that NumPy brings: one library in the program, not two.

   NumPy's has integers of 64 bits and names of its own (scipy_sgemm_64_); faiss calls the usual ones, with integers of
   32 bits. Every function here widens the integers and passes the call on; nothing is computed. Integer arrays are
   copied. After the reference BLAS and LAPACK 3 for the arguments: all by address, lengths of texts behind them. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef int32_t narrow;
typedef int64_t wide;

#define LONG(name) scipy_##name##_64_
#define W(x) &(wide){*(x)} /* an integer, widened, for the time of the call */
#define OUT_OF_MEMORY (-1000) /* told in `info`, where LAPACK tells which argument is wrong */

/* Levels 2 and 3 --------------------------------------------------------------------------------------------------- */

#define GEMM(name, real)                                                                                              \
    void LONG(name)(const char *, const char *, const wide *, const wide *, const wide *, const real *, const real *, \
                    const wide *, const real *, const wide *, const real *, real *, const wide *, size_t, size_t);    \
    void name##_(const char *ta, const char *tb, const narrow *m, const narrow *n, const narrow *k,                   \
                 const real *alpha, const real *a, const narrow *lda, const real *b, const narrow *ldb,               \
                 const real *beta, real *c, const narrow *ldc) {                                                      \
        LONG(name)(ta, tb, W(m), W(n), W(k), alpha, a, W(lda), b, W(ldb), beta, c, W(ldc), 1, 1);                     \
    }
GEMM(sgemm, float)
GEMM(dgemm, double)

void LONG(sgemv)(const char *, const wide *, const wide *, const float *, const float *, const wide *, const float *,
                 const wide *, const float *, float *, const wide *, size_t);
void sgemv_(const char *t, const narrow *m, const narrow *n, const float *alpha, const float *a, const narrow *lda,
            const float *x, const narrow *step_x, const float *beta, float *y, const narrow *step_y) {
    LONG(sgemv)(t, W(m), W(n), alpha, a, W(lda), x, W(step_x), beta, y, W(step_y), 1);
}

void LONG(ssyrk)(const char *, const char *, const wide *, const wide *, const float *, const float *, const wide *,
                 const float *, float *, const wide *, size_t, size_t);
void ssyrk_(const char *half, const char *t, const narrow *n, const narrow *k, const float *alpha, const float *a,
            const narrow *lda, const float *beta, float *c, const narrow *ldc) {
    LONG(ssyrk)(half, t, W(n), W(k), alpha, a, W(lda), beta, c, W(ldc), 1, 1);
}

/* LAPACK ----------------------------------------------------------------------------------------------------------- */

void LONG(sgeqrf)(const wide *, const wide *, float *, const wide *, float *, float *, const wide *, wide *);
void sgeqrf_(const narrow *m, const narrow *n, float *a, const narrow *lda, float *tau, float *work,
             const narrow *size, narrow *info) {
    wide said = 0;
    LONG(sgeqrf)(W(m), W(n), a, W(lda), tau, work, W(size), &said);
    *info = (narrow)said;
}

void LONG(sorgqr)(const wide *, const wide *, const wide *, float *, const wide *, const float *, float *,
                  const wide *, wide *);
void sorgqr_(const narrow *m, const narrow *n, const narrow *k, float *a, const narrow *lda, const float *tau,
             float *work, const narrow *size, narrow *info) {
    wide said = 0;
    LONG(sorgqr)(W(m), W(n), W(k), a, W(lda), tau, work, W(size), &said);
    *info = (narrow)said;
}

#define GESVD(name, real)                                                                                             \
    void LONG(name)(const char *, const char *, const wide *, const wide *, real *, const wide *, real *, real *,     \
                    const wide *, real *, const wide *, real *, const wide *, wide *, size_t, size_t);                \
    void name##_(const char *ju, const char *jv, const narrow *m, const narrow *n, real *a, const narrow *lda,        \
                 real *s, real *u, const narrow *ldu, real *v, const narrow *ldv, real *work, const narrow *size,     \
                 narrow *info) {                                                                                      \
        wide said = 0;                                                                                                \
        LONG(name)(ju, jv, W(m), W(n), a, W(lda), s, u, W(ldu), v, W(ldv), work, W(size), &said, 1, 1);               \
        *info = (narrow)said;                                                                                         \
    }
GESVD(sgesvd, float)
GESVD(dgesvd, double)

void LONG(dsyev)(const char *, const char *, const wide *, double *, const wide *, double *, double *, const wide *,
                 wide *, size_t, size_t);
void dsyev_(const char *jobs, const char *half, const narrow *n, double *a, const narrow *lda, double *values,
            double *work, const narrow *size, narrow *info) {
    wide said = 0;
    LONG(dsyev)(jobs, half, W(n), a, W(lda), values, work, W(size), &said, 1, 1);
    *info = (narrow)said;
}

#define GETRF(name, real)                                                                                             \
    void LONG(name)(const wide *, const wide *, real *, const wide *, wide *, wide *);                                \
    void name##_(const narrow *m, const narrow *n, real *a, const narrow *lda, narrow *pivots, narrow *info) {        \
        wide said = 0;                                                                                                \
        narrow least = *m < *n ? *m : *n;                                                                             \
        wide *rows = malloc((size_t)(least > 0 ? least : 1) * sizeof *rows);                                          \
        if (rows == NULL) {                                                                                           \
            *info = OUT_OF_MEMORY;                                                                                    \
            return;                                                                                                   \
        }                                                                                                             \
        LONG(name)(W(m), W(n), a, W(lda), rows, &said);                                                               \
        for (narrow at = 0; said >= 0 && at < least; at++) pivots[at] = (narrow)rows[at];                             \
        free(rows);                                                                                                   \
        *info = (narrow)said;                                                                                         \
    }
GETRF(sgetrf, float)
GETRF(dgetrf, double)

#define GETRI(name, real)                                                                                             \
    void LONG(name)(const wide *, real *, const wide *, const wide *, real *, const wide *, wide *);                  \
    void name##_(const narrow *n, real *a, const narrow *lda, const narrow *pivots, real *work, const narrow *size,   \
                 narrow *info) {                                                                                      \
        wide said = 0;                                                                                                \
        wide *rows = malloc((size_t)(*n > 0 ? *n : 1) * sizeof *rows);                                                \
        if (rows == NULL) {                                                                                           \
            *info = OUT_OF_MEMORY;                                                                                    \
            return;                                                                                                   \
        }                                                                                                             \
        for (narrow at = 0; *size != -1 && at < *n; at++) rows[at] = pivots[at];                                      \
        LONG(name)(W(n), a, W(lda), rows, work, W(size), &said);                                                      \
        free(rows);                                                                                                   \
        *info = (narrow)said;                                                                                         \
    }
GETRI(sgetri, float)
GETRI(dgetri, double)

void LONG(sgelsd)(const wide *, const wide *, const wide *, float *, const wide *, float *, const wide *, float *,
                  const float *, wide *, float *, const wide *, wide *, wide *);
void sgelsd_(const narrow *m, const narrow *n, const narrow *sides, float *a, const narrow *lda, float *b,
             const narrow *ldb, float *s, const float *rcond, narrow *rank, float *work, const narrow *size,
             narrow *whole_work, narrow *info) {
    /* How many integers it wants is asked of it first. */
    wide said = 0, found = 0, count = 1;
    float ignored = 0;
    LONG(sgelsd)(W(m), W(n), W(sides), a, W(lda), b, W(ldb), s, rcond, &found, &ignored, &(wide){-1}, &count, &said);
    if (*size == -1 || said != 0) {
        work[0] = ignored;
        whole_work[0] = (narrow)count;
        *info = (narrow)said;
        return;
    }
    wide *room = malloc((size_t)(count > 0 ? count : 1) * sizeof *room);
    if (room == NULL) {
        *info = OUT_OF_MEMORY;
        return;
    }
    LONG(sgelsd)(W(m), W(n), W(sides), a, W(lda), b, W(ldb), s, rcond, &found, work, W(size), room, &said);
    free(room);
    *rank = (narrow)found;
    *info = (narrow)said;
}
