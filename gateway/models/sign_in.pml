/* Consent, callback and token, with two clients and two browsers, every order of events.
 *
 * H is an honest client, which runs on the machine of whoever uses it; M is malicious: what it learns, the attacker knows. V is the
 * victim's browser, A the attacker's. A request is what /authorize was asked; a transaction is one Allow for a request in one
 * browser, so its number is both.
 *
 * The attacker leads the victim's browser to any address that he knows; there the victim is signed in at Entra without a click. He
 * knows each request that he or M began, each `state` and each code of ours (they are in addresses, which leak). He does not know
 * a request that the victim's own client began, nor a code of Entra's for the victim: no server can help where those leak.
 *
 * Each protection is a macro that is 1; `check` runs the model with each of them 0, and demands a counterexample: the events in the
 * file of its name in `counterexamples`, one a line, as they are printed below. Those are then tried at the true edge, by
 * `gateway/tests/it/counterexamples.rs`, which reads the same files. A transaction is written `request/browser`.
 */

#ifndef BINDING      /* the callback wants a cookie that Allow has set in this browser */
#define BINDING 1
#endif
#ifndef PER_TXN      /* and that cookie is the one of this very transaction */
#define PER_TXN 1
#endif
#ifndef FORM_TOKEN   /* Allow counts only from our own page in this browser */
#define FORM_TOKEN 1
#endif
#ifndef RECORD_ONCE  /* a callback takes its record away */
#define RECORD_ONCE 1
#endif
#ifndef CODE_ONCE    /* a code is redeemed once */
#define CODE_ONCE 1
#endif
#ifndef PKCE         /* a code is redeemed by who began the request */
#define PKCE 1
#endif
#ifndef ENTRA_PKCE   /* Entra's code is redeemed in the transaction in which it was asked for */
#define ENTRA_PKCE 1
#endif

#define V 0
#define A 1
#define H 0
#define M 1
#define REQUESTS 2
#define TXN(r, b) ((r) * 2 + (b))
#define REQUEST(t) ((t) / 2)
#define BROWSER(t) ((t) % 2)

/* As events are printed. */
#define PERSON_NAME(p) ((p) == V -> 'V' : 'A')
#define CLIENT_NAME(c) ((c) == H -> 'H' : 'M')

bool begun[REQUESTS];
bit client[REQUESTS];
bit starter[REQUESTS];

/* By transaction. */
bool willed[4];       /* the person at that browser clicked Allow */
bool record[4];       /* a pending authorization is stored */
bool cookie[4];       /* the browser of the transaction holds its cookie */
bool entra_code[8];   /* by transaction and user: Entra gave out a code */
byte codes[4];        /* how many codes of ours came of it */

/* By transaction: the newest code of ours. */
bool code[4];
bit user[4];
byte sessions[4];

/* What the attacker can have anybody open. */
#define KNOWN(r) (begun[r] && (starter[r] == A || client[r] == M))
#define HAS_VERIFIER(p, r) ((p == A && KNOWN(r)) || (p == V && starter[r] == V && client[r] == H))
#define ANY_COOKIE(b) (cookie[TXN(0, b)] || cookie[TXN(1, b)])
#define COOKIE_IS_GOOD(b, t) (!BINDING || (PER_TXN && cookie[t] && BROWSER(t) == b) || (!PER_TXN && ANY_COOKIE(b)))

#define CODE_IS_GOOD(b, t, u, s) (entra_code[(s) * 2 + u] && (u == A || b == V) && (!ENTRA_PKCE || s == t))

inline begin(r) {
    atomic {
        !begun[r] ->
        begun[r] = true;
        if :: client[r] = H :: client[r] = M fi;
        if :: starter[r] = V :: starter[r] = A fi;
        printf("event: begin %d %c %c\n", r, CLIENT_NAME(client[r]), PERSON_NAME(starter[r]))
    }
}

/* A person allows what he began; the attacker also what he was told of. */
inline allow(r, b) {
    atomic {
        begun[r] && !record[TXN(r, b)] && codes[TXN(r, b)] == 0 && (b == starter[r] || (b == A && KNOWN(r))) ->
        willed[TXN(r, b)] = true;
        record[TXN(r, b)] = true;
        cookie[TXN(r, b)] = true;
        printf("event: allow %d %c\n", r, PERSON_NAME(b))
    }
}

/* A page of the attacker's posts the form in the victim's browser. */
inline forged_allow(r) {
    atomic {
        !FORM_TOKEN && KNOWN(r) && !record[TXN(r, V)] && codes[TXN(r, V)] == 0 ->
        record[TXN(r, V)] = true;
        cookie[TXN(r, V)] = true;
        printf("event: forged_allow %d\n", r)
    }
}

/* At Entra, with the address that Allow led to: the victim is led to his own, and by the attacker to the attacker's. */
inline sign_in(t, u) {
    atomic {
        record[t] && !entra_code[t * 2 + u] && (u == V || BROWSER(t) == A) ->
        entra_code[t * 2 + u] = true;
        printf("event: sign_in %d/%c %c\n", REQUEST(t), PERSON_NAME(BROWSER(t)), PERSON_NAME(u))
    }
}

/* In browser b: `state` of transaction t, and the code that Entra gave user u in transaction s. The victim's is only in his browser. */
inline callback(b, t, u, s) {
    atomic {
        record[t] && codes[t] < 2 && CODE_IS_GOOD(b, t, u, s) && COOKIE_IS_GOOD(b, t) ->
        entra_code[s * 2 + u] = false;
        if :: RECORD_ONCE -> record[t] = false; cookie[t] = false :: else fi;
        code[t] = true;
        user[t] = u;
        sessions[t] = 0;
        codes[t]++;
        printf("event: callback %c %d/%c %c %d/%c\n", PERSON_NAME(b), REQUEST(t), PERSON_NAME(BROWSER(t)),
            PERSON_NAME(u), REQUEST(s), PERSON_NAME(BROWSER(s)));
        assert(codes[t] == 1)
    }
}

inline redeem(p, t) {
    atomic {
        code[t] && sessions[t] < 2 && (!PKCE || HAS_VERIFIER(p, REQUEST(t))) ->
        if :: CODE_ONCE -> code[t] = false :: else fi;
        sessions[t]++;
        printf("event: redeem %c %d/%c\n", PERSON_NAME(p), REQUEST(t), PERSON_NAME(BROWSER(t)));
        assert(sessions[t] == 1);
        /* The attacker has the victim's session only if the victim wanted the attacker's client to have it. */
        assert(!(p == A && user[t] == V) || (client[REQUEST(t)] == M && willed[TXN(REQUEST(t), V)]));
        /* The victim does not work in the attacker's session. */
        assert(!(p == V && user[t] == A))
    }
}

active proctype everybody() {
    byte r, b, t, u, s, p;
    do
    :: select(r : 0 .. 1); select(b : 0 .. 1); select(t : 0 .. 3); select(u : 0 .. 1); select(s : 0 .. 3); select(p : 0 .. 1);
       if
       :: begin(r)
       :: allow(r, b)
       :: forged_allow(r)
       :: sign_in(t, u)
       :: callback(b, t, u, s)
       :: redeem(p, t)
       :: true
       fi;
       d_step { r = 0; b = 0; t = 0; u = 0; s = 0; p = 0 }
    od
}
