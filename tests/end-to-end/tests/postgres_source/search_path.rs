//! Views over functions that depend on the role's search path.

use datakit_tests::PostgresWorld;

#[test]
fn a_view_over_a_function_with_unqualified_names_is_loaded() {
    let world = PostgresWorld::new(
        "CREATE ROLE svc LOGIN PASSWORD 'Pl4nted test password';
         CREATE TABLE public.rates (cur text, rate numeric(10,4)); INSERT INTO public.rates VALUES ('EUR', 1.1);
         CREATE FUNCTION public.rate_of(c text) RETURNS numeric(10,4) LANGUAGE plpgsql STABLE AS
            $$ BEGIN RETURN (SELECT rate FROM rates WHERE cur = c); END $$;
         CREATE VIEW public.v_rate AS SELECT 1 AS id, public.rate_of('EUR')::numeric(10,4) AS r;
         GRANT SELECT ON public.v_rate, public.rates TO svc",
    );
    world.edit("user = \"postgres\"", "user = \"svc\"");
    assert_eq!(world.run(&[])["status"], "done");
    let delta = world.delta("SHOP/public/v_rate");
    assert!(delta.contains("\"id\": 1") && delta.contains("1.1000"), "{delta}");
}
