-- The generation of models changes with their aliases; processes that keep aliases read it alone.
create or replace function seedcore.note_models() returns trigger language plpgsql as $$
begin
  update seedcore.model_generation set generation = generation + 1;
  return null;
end $$;
